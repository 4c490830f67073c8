"""Worker processes of a command, apart from what they work on."""

import subprocess
from pathlib import Path

import pytest

from experiments import workers
from experiments.callbacks import StopRequest
from experiments.errors import UserError


def test_a_worker_that_can_not_be_started_leaves_no_other_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches workers that go on by themselves after the command has ended, because a later one couldn't be started."""
    started: list[subprocess.Popen[str]] = []
    start = workers._started

    def start_one(module: str) -> "subprocess.Popen[str]":
        if started:
            raise OSError(11, "Resource temporarily unavailable")
        started.append(start(module))
        return started[0]

    monkeypatch.setattr(workers, "_started", start_one)
    with pytest.raises(UserError, match=r"worker 2 of 2 can't be started: .*temporarily unavailable"):
        workers.run_workers("experiments.results.worker", "", 2, StopRequest(), "")
    assert started[0].poll() is not None


def test_a_worker_that_dies_before_it_is_told_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Catches a broken pipe's traceback for the user, where the worker's status is what has to be said."""
    (tmp_path / "dies.py").write_text("import os, sys; os.close(0); sys.exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    workers.run_workers("dies", "x" * 1_000_000 + "\n", 2, StopRequest(), "nothing is lost")
    said = capfd.readouterr().err
    assert said.count("was ended by status 3; nothing is lost") == 2
