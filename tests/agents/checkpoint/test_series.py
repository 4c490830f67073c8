"""Numbered checkpoints in a folder."""

import os
from pathlib import Path

import pytest
import torch

from agents.checkpoint import CheckpointError, CheckpointSeries, read


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def filled(folder: Path, *steps: int, keep: int = 3) -> CheckpointSeries:
    series = CheckpointSeries(folder, keep)
    for step in steps:
        series.save(step, {"step": step, "weights": torch.full((3,), step)})
    return series


def test_the_newest_are_kept_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Would catch: names sorted as text, times of files asked, one too many or too few kept."""
    series = filled(tmp_path / "new", 9, 10, 100, 123456, 999_999_999_999)
    assert series.steps() == [999_999_999_999, 123456, 100]
    assert (series.folder / "step-000000123456.safetensors").is_file()
    newest = series.newest()
    assert (newest.step, newest.skipped) == (999_999_999_999, [])
    assert newest.tree["weights"].tolist() == [999_999_999_999] * 3
    assert newest.path == series.folder / "step-999999999999.safetensors"


def test_a_clock_that_jumps_does_not_matter(tmp_path: Path) -> None:
    """Would catch: the newest by the time of its file, after a clock was put back."""
    series = filled(tmp_path, 1, 2, 3)
    for age, step in enumerate((1, 2, 3)):
        os.utime(tmp_path / f"step-{step:012d}.safetensors", (10**9 - age, 10**9 - age))
    assert series.newest().step == 3
    series.save(4, {})
    assert series.steps() == [4, 3, 2]


def test_damaged_ones_are_skipped_and_told(tmp_path: Path) -> None:
    """Would catch: a training that can't go on since the last file is broken, or goes on without a word."""
    series = filled(tmp_path, 1, 2, 3)
    damage(tmp_path / "step-000000000003.safetensors")
    (tmp_path / "step-000000000002.safetensors").write_bytes(b"")
    newest = series.newest()
    assert newest.step == 1
    assert ["damaged" in newest.skipped[0], "empty" in newest.skipped[1]] == [True, True]
    assert "step-000000000003" in newest.skipped[0]


def test_the_last_good_one_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: a disk that returns garbage, where the good checkpoint makes room for damaged ones."""
    series = filled(tmp_path, 1, 2, keep=2)
    for step in (3, 4, 5):
        # What is written now is damaged as soon as it lies there.
        replace = os.replace

        def damaging(source: Path, target: Path) -> None:
            replace(source, target)  # noqa: B023  # called before the loop goes on
            damage(target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", damaging)
            series.save(step, {"step": step})
    assert series.newest().step == 2
    series.save(6, {"step": 6})
    series.save(7, {"step": 7})
    assert series.steps() == [7, 6]


def test_going_back_is_asked_for(tmp_path: Path) -> None:
    """Would catch: a training taken back to an earlier step whose checkpoints are pruned at once as the oldest, or
    passed over for those of the future that was given up."""
    series = filled(tmp_path, 10, 20, 30)
    with pytest.raises(CheckpointError, match=r"step 30 already, later than 15: call discard_after\(15\)"):
        series.save(15, {})
    assert series.steps() == [30, 20, 10]
    series.discard_after(10)
    series.save(15, {})
    assert series.steps() == [15, 10]


def test_damaged_later_ones_are_not_in_the_way(tmp_path: Path) -> None:
    """Would catch: a training that goes on before a damaged checkpoint and can't be saved, or whose checkpoint is
    pruned at once."""
    series = filled(tmp_path, 10, 20, keep=1)
    damage(tmp_path / "step-000000000020.safetensors")
    series.save(15, {"step": 15})
    assert series.newest().step == 15


def test_the_same_step_is_replaced(tmp_path: Path) -> None:
    """Would catch: an old checkpoint that stays under the new one's number."""
    series = filled(tmp_path, 1)
    path = series.save(1, "second")
    assert read(path) == "second"
    assert series.steps() == [1]


def test_an_empty_series_says_so(tmp_path: Path) -> None:
    """Would catch: an IndexError, or a new training begun without a word where one should go on."""
    (tmp_path / "step-1.safetensors").touch()
    (tmp_path / "step-000000000001.safetensors.bak").touch()
    (tmp_path / "step-000000000001.safetensors").mkdir()
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match="has no checkpoint that can be read"):
            CheckpointSeries(folder).newest()
    for step in (2, 3):
        (tmp_path / f"step-{step:012d}.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"step-000000000003.*cut off.*step-000000000002.*cut off") as error:
        CheckpointSeries(tmp_path).newest()
    assert "\n" not in str(error.value)


def test_wrong_numbers_are_refused(tmp_path: Path) -> None:
    """Would catch: a series that keeps nothing, a name that it doesn't find again."""
    with pytest.raises(ValueError, match="keep=0 must be at least 1"):
        CheckpointSeries(tmp_path, keep=0)
    for step in (-1, 10**12):
        with pytest.raises(CheckpointError, match="can't number a checkpoint"):
            CheckpointSeries(tmp_path).save(step, {})
