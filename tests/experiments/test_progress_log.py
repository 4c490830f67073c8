"""The log of a training, as all who read it take it."""

from pathlib import Path

import pytest

from experiments.growth import logged_steps
from experiments.progress_log import Row, read_rows
from experiments.results.curve import read_points

HEAD = "memory/live_memories,time/time_elapsed,time/total_timesteps\n"


@pytest.mark.parametrize("last", ["", "7", "7.5,2.", "7.5,2,12", "7.5,2,128"])
def test_a_half_written_last_line_counts_for_nothing(tmp_path: Path, last: str) -> None:
    """Would catch: a line that a killed process was writing said to be damage, or its last number, a part of one, taken
    for the whole."""
    (tmp_path / "progress.csv").write_text(f"{HEAD}6.5,1,64\n{last}")
    assert read_rows(tmp_path, ["memory/live_memories"]) == [Row(64, 1.0, {"memory/live_memories": 6.5})]
    assert [point.steps for point in read_points(tmp_path)] == [64]
    assert logged_steps(tmp_path) == 64


@pytest.mark.parametrize("text", [None, "", "memory/live_mem", HEAD])
def test_a_log_without_a_row(tmp_path: Path, text: str | None) -> None:
    """Would catch: a traceback where a training has only just begun."""
    if text is not None:
        (tmp_path / "progress.csv").write_text(text)
    assert read_rows(tmp_path) == []
    assert logged_steps(tmp_path) == 0


def test_what_was_done_again_counts_once_but_for_its_time(tmp_path: Path) -> None:
    """Would catch: rows that run backwards where a killed run went on from its last checkpoint; device time that the
    kill makes disappear; a session that was killed before its first row, and what came before it gone with it."""
    (tmp_path / "progress.csv").write_text(f"{HEAD},1,64\n,2,128\n,3,192\n,4,2")
    (tmp_path / "progress-000000000064.csv").write_text("memory/live")
    (tmp_path / "progress-000000000128.csv").write_text(f"{HEAD},1.5,192\n,2.5,256\n")
    assert read_rows(tmp_path) == [Row(64, 1, {}), Row(128, 2, {}), Row(192, 4.5, {}), Row(256, 5.5, {})]
