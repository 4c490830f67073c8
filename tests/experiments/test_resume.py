"""A training that is killed at any moment goes on as if nothing had happened; and what else can happen to one."""

import random
from functools import partial
from pathlib import Path

import pytest

from agents.checkpoint import folder_lock
from experiments import runs
from tests.experiments.conftest import S7, TINY, Cli
from tests.experiments.killed import (
    begun,
    finished,
    has_checkpoints,
    is_writing,
    is_writing_after,
    kill_when,
    learned,
    resumed,
)
from tests.trees import equal

KILLS, WHILE_WRITING = 50, 10


def test_killed_and_resumed_it_learns_the_same(tmp_path: Path) -> None:
    """Would catch: anything of a training that its checkpoints lack: a generator, memory, Adam's moments, a schedule,
    the environments. Some ten updates, a SIGKILL, and the rest in a new process must give the weights of twenty."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finished(begun(whole))
    assert kill_when(begun(killed), lambda: has_checkpoints(killed, 3))
    errors = finished(resumed(killed))
    assert "anew" not in errors
    assert equal(learned(whole), learned(killed))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_fifty_kills(tmp_path: Path) -> None:
    """Would catch: a moment at which a kill loses more than the steps since the last checkpoint, or leaves half of one
    behind. Some are in the midst of writing."""
    whole, draw = tmp_path / "whole", random.Random(0)
    finished(begun(whole))
    expected, half_written, anew = learned(whole), 0, 0
    for number in range(KILLS):
        run_dir, process = tmp_path / f"killed-{number}", begun(tmp_path / f"killed-{number}")
        if number < WHILE_WRITING:
            killed = kill_when(process, partial(is_writing_after, run_dir, number % 3))
            half_written += is_writing(run_dir)
        else:
            killed = kill_when(process, (run_dir / runs.CONFIG).is_file, draw.uniform(0, 1.2))
        assert killed, "the training had ended before"
        if has_checkpoints(run_dir):
            finished(resumed(run_dir))
        else:
            anew += 1
            finished(begun(run_dir, "--overwrite"))
        assert equal(learned(run_dir), expected), f"kill {number}"
    print(f"{KILLS} of {KILLS} have the same weights; {half_written} left half a file, {anew} had no checkpoint yet")


def test_a_damaged_checkpoint_is_passed_over(run_copy: Path, cli: Cli) -> None:
    """Would catch: a run that can't go on because its newest checkpoint is broken, or goes on with half of it."""
    newest = run_copy / runs.CHECKPOINTS / "step-000000000256.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    outcome = cli("train", "--resume", run_copy, "--total-timesteps", 384)
    assert outcome.status == 0, outcome.err
    assert "passed over" in outcome.err
    assert "start anew" in outcome.err, "serial environments can't be saved, which is said"
    assert runs.load(run_copy, "cpu").model.num_timesteps == 384
    for path in (run_copy / runs.CHECKPOINTS).iterdir():
        path.write_bytes(b"x")
    outcome = cli("train", "--resume", run_copy, "--total-timesteps", 512)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "no checkpoint that can be read" in outcome.err


def test_two_on_one_folder(run_copy: Path, cli: Cli) -> None:
    """Would catch: two trainings that write over each other's checkpoints."""
    with folder_lock(run_copy):
        for flags in (
            ("--resume", run_copy, "--total-timesteps", 999),
            (*S7, *TINY, "--run-dir", run_copy, "--overwrite"),
        ):
            outcome = cli("train", *flags)
            assert outcome.status == 2
            assert "in use by process" in outcome.err
