"""`expire-span curves`."""

import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from experiments.curves import labels, read_progress, series, unit_of
from tests.experiments.conftest import Cli


def test_a_picture_of_several_runs(cli: Cli, trained: Path, run_copy: Path, tmp_path: Path) -> None:
    """Would catch: a picture that isn't written, or is blank."""
    output = tmp_path / "curves.png"
    outcome = cli("curves", trained, run_copy, "--output", output)
    assert outcome.status == 0, outcome.err
    assert imread(output).std() > 0.01


def test_names_of_folders(trained: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: dollars read as a formula, which can't be parsed; a name that Matplotlib hides; two runs of one name;
    the working directory, which has none."""
    assert labels(["a/seed0", "b/seed0/", "_x", "$a$"]) == ["a/seed0", "b/seed0/", " _x", r"\$a\$"]
    run = tmp_path / r"a$\foo$b"
    shutil.copytree(trained, run)
    monkeypatch.chdir(run)
    assert labels(["."]) == [r"a\$\foo\$b"]
    (tmp_path / "link").symlink_to(run)
    assert labels([str(tmp_path / "link")]) == ["link"]
    outcome = cli("curves", ".", "--output", tmp_path / "curves.png")
    assert (outcome.status, outcome.err) == (0, "")


def test_continued_runs_are_read_in_order(trained: Path, run_copy: Path) -> None:
    """Would catch: only the first part of a run that was gone on with, or a curve that runs backwards where a killed
    run went on from its last checkpoint."""
    steps, values = series(read_progress(trained), "memory/span_mean")
    assert steps == [64.0, 128.0, 192.0, 256.0]
    assert all(0 < value < 20 for value in values)
    # Killed after 256 steps, gone on with from a checkpoint of 128.
    header, *rows = (run_copy / "progress.csv").read_text().splitlines()
    (run_copy / "progress-000000000128.csv").write_text("\n".join([header, *rows[2:]]) + "\n")
    assert series(read_progress(run_copy), "memory/span_mean")[0] == steps


def test_mistakes(cli: Cli, trained: Path, run_copy: Path, tmp_path: Path) -> None:
    """Would catch: a traceback for a folder without a run, one without a log, or a name with a wrong ending."""
    (run_copy / "progress.csv").unlink()
    for arguments, message in (
        ((tmp_path / "nowhere",), "isn't a folder"),
        ((run_copy,), "has logged nothing yet"),
        ((trained, "--output", "curves.txt"), "must end in .png, .svg or .pdf"),
        ((trained, "--output", tmp_path / "no" / "curves.png"), "can't be written"),
    ):
        outcome = cli("curves", *arguments)
        assert outcome.status == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("a,b\n1,x\n", 1),
        ("time/total_timesteps,memory/span_mean\n64,3\n128,x\n", 2),
        ("time/total_timesteps,memory/span_mean\n64,3\nnan,4\n", 2),
        ("memory/span_mean,time/total_timesteps\n3,64\n4,128\n4\n5,256\n", 3),
        (b"time/total_timesteps\n\xff\xfe\n", 1),
    ],
)
def test_a_damaged_log_is_one_line(cli: Cli, run_copy: Path, content: str | bytes, row: int) -> None:
    """Would catch: a traceback for a log that something else wrote to."""
    path = run_copy / "progress.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = cli("curves", run_copy, "--output", run_copy / "curves.png")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1), outcome.err
    assert f"{path} is damaged: its row {row} isn't one that a training logs" in outcome.err


def test_the_unit_fits_the_range() -> None:
    """Would catch: a run of a few hundred steps whose labels, 0.0000 to 0.0003 million, are printed over each other."""
    assert [unit_of(most)[1].split()[0] for most in (0, 256, 999, 1000, 300_000, 1e6, 5e7)] == [
        *["environment"] * 3,
        *["thousand"] * 2,
        *["million"] * 2,
    ]
