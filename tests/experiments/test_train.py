"""Training: what it leaves, and how to go on."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.checkpoint import CheckpointSeries
from experiments import runs
from experiments.callbacks import OurCallback, StopRequest
from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.errors import TrainingFault, UserError
from experiments.session import Session, new_session
from experiments.train import run_session
from tests.experiments.conftest import S7, TINY, Cli


def test_run_folder(trained: Path) -> None:
    """A run that can't be told from another later: settings, versions, command and logs are all there."""
    record = json.loads((trained / "config.json").read_text())
    assert record["format_version"] == runs.FORMAT_VERSION
    assert record["config"]["env"]["env_args"] == ["agent_view_size=3", "max_steps=20"]
    assert record["config"]["core"]["slots"] == 6
    assert {"expire-span", "python", "torch", "stable-baselines3"} <= record["started"]["versions"].keys()
    assert "train --env MiniGrid-MemoryS7-v0" in record["started"]["command"]
    assert record["started"]["device"] == "cpu"
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["timesteps"] == 256
    assert summary["stopped_by"] == "total-timesteps"
    assert (trained / "progress.csv").read_text().count("\n") > 3
    assert not list(trained.rglob("*partial*"))


def test_tensorboard_has_the_spans(trained: Path) -> None:
    """Span statistics that the agent records and nobody writes."""
    events = EventAccumulator(str(trained))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    names = ("live_memories", "evicted_live", "on_ramp", "span_mean", "span_q10", "span_q50", "span_q90")
    assert {f"memory/{name}" for name in names} <= tags
    assert {
        "memory/live_memories_layer_0",
        "memory/live_memories_layer_1",
        "rollout/success_rate",
        "train/loss",
    } <= tags


def test_checkpoints_are_bounded(trained: Path) -> None:
    """Checkpoints that fill the disk, or the oldest kept instead of the newest."""
    names = sorted(path.name for path in (trained / "checkpoints").iterdir())
    assert names == [f"step-{steps:012d}.safetensors" for steps in (128, 192, 256)]


def test_continue(run_copy: Path, cli: Cli) -> None:
    """A continuation that starts anew: steps counted from 0, Adam's moments lost, the log of before truncated."""
    log = (run_copy / "progress.csv").read_text()
    before = runs.load(run_copy, "cpu").model
    outcome = cli("train", "--resume", run_copy, "--total-timesteps", 384)
    assert outcome.status == 0, outcome.err
    after = runs.load(run_copy, "cpu").model
    assert (before.num_timesteps, after.num_timesteps) == (256, 384)
    steps = [next(iter(model.policy.optimizer.state.values()))["step"] for model in (before, after)]
    assert 0 < steps[0] < steps[1]
    assert (run_copy / "progress.csv").read_text() == log
    assert (run_copy / "progress-000000000256.csv").is_file()
    record = json.loads((run_copy / "config.json").read_text())
    assert record["config"]["total_timesteps"] == 384
    assert record["continued"][0]["timesteps"] == 256


def test_overwrite_replaces_only_our_files(run_copy: Path, cli: Cli) -> None:
    """A new run between the remains of an old one, or somebody's notes deleted with it."""
    (run_copy / "notes.txt").write_text("mine")
    outcome = cli("train", *S7, *TINY, "--total-timesteps", 64, "--run-dir", run_copy, "--overwrite")
    assert outcome.status == 0, outcome.err
    assert (run_copy / "notes.txt").read_text() == "mine"
    assert [path.name for path in (run_copy / "checkpoints").iterdir()] == ["step-000000000064.safetensors"]
    assert runs.load(run_copy, "cpu").model.num_timesteps == 64


def test_slots_below_ramp_only_warn(tmp_path: Path, cli: Cli) -> None:
    """A warning that ends the training, or comes with a path and a source line."""
    run = tmp_path / "run"
    flags = ("--ramp-length", 8, "--total-timesteps", 64, "--run-dir", run)
    outcome = cli("train", *S7, *TINY, *flags)
    assert outcome.status == 0
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("expire-span: warning: slots=6 don't exceed ramp_length=8")


@pytest.mark.parametrize("memory", ["none", "transformer-xl", "lstm", "gru"])
def test_controls_train(tmp_path: Path, cli: Cli, memory: str) -> None:
    """A control that can't be trained, evaluated and recorded with the same commands."""
    run = tmp_path / "run"
    assert cli("train", *S7, *TINY, "--memory", memory, "--total-timesteps", 64, "--run-dir", run).status == 0
    outcome = cli("evaluate", run, "--episodes", 4, "--json")
    assert outcome.status == 0, outcome.err
    live = json.loads(outcome.out)["live_memories"]
    assert (live == 0) == (memory == "none")
    assert (live is None) == (memory in ("lstm", "gru"))
    assert ("live memories" in cli("evaluate", run, "--episodes", 4).out) == (live is not None)
    assert cli("record", run, "--output", run / "picture.png").status == 0


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_environments_without_success(tmp_path: Path, cli: Cli, env: str) -> None:
    """Environments that aren't ours: no is_success, no levels, vectors for observations, continuous actions."""
    run = tmp_path / "run"
    flags = ("--env-args", "max_episode_steps=20", "--learning-rate-end", 0, "--ent-coef-end", 0, "--net-arch", 8)
    outcome = cli("train", "--env", env, *TINY, *flags, "--total-timesteps", 128, "--run-dir", run)
    assert outcome.status == 0, outcome.err
    result = json.loads(cli("evaluate", run, "--episodes", 3, "--json", "--sampled").out)
    assert result["success_rate"] is None
    assert "is_success" in result["success_missing"]
    assert result["actions"] == "sampled"
    assert "return" in cli("evaluate", run, "--episodes", 3).out
    assert cli("record", run, "--output", run / "picture.png").status == 0


def test_stop_at_success(tmp_path: Path, cli: Cli) -> None:
    """Early stopping that fires on a window that isn't full, or that isn't said."""
    run = tmp_path / "run"
    flags = ("--stop-at-success", 0.0, "--stats-window-size", 5, "--total-timesteps", 100_000, "--run-dir", run)
    outcome = cli("train", *S7, *TINY, *flags)
    assert outcome.status == 0
    assert "stopped early: 0.0 of the last 5 episodes" in outcome.out
    assert json.loads((run / "summary.json").read_text())["stopped_by"] == "success"
    assert runs.load(run, "cpu").model.num_timesteps < 1000


def small_session(run_dir: Path, **settings: Any) -> Session:
    """A training of four short corridors and rollouts of 32 steps, about to begin."""
    config = TrainConfig(
        env=EnvConfig(env_id="ExpireSpan/Corridor-v0", env_args=("max_length=4", "max_steps=5"), n_envs=4),
        core=CoreConfig(dim=8, depth=1, heads=1, slots=4, ramp_length=2),
        agent=AgentConfig(n_steps=8, segment_length=8, batch_size=32, stats_window_size=4),
        run_dir=str(run_dir),
        device="cpu",
        progress="none",
    )
    session = new_session(dataclasses.replace(config, **settings))
    runs.create(session.run_dir, session.config, session.device, "a test")
    return session


class At(OurCallback):
    """Does something at a step of the training."""

    def __init__(self, step: int, does: Callable[[], None]) -> None:
        super().__init__()
        self._step, self._does = step, does

    def _on_step(self) -> bool:
        if self.model.num_timesteps == self._step:
            self._does()
        return True


def checkpoints_in(run_dir: Path) -> list[int]:
    return CheckpointSeries(run_dir / runs.CHECKPOINTS).steps()


def test_a_stop_in_a_last_rollout(tmp_path: Path) -> None:
    """Would catch a training called whole that was stopped at the only step of its last rollout: by the steps that SB3
    has counted it looks so."""
    session, request = small_session(tmp_path / "run", total_timesteps=36), StopRequest()
    with closing(session.vec_env):
        summary = run_session(session, request, At(20, lambda: setattr(request, "signal", signal.SIGTERM)))
    assert (summary["stopped_by"], checkpoints_in(session.run_dir)) == ("signal", [32])


def test_a_stop_and_a_success_in_one_rollout(tmp_path: Path) -> None:
    """Would catch a training that ends as told by the success, and isn't saved, since a signal is said to have saved
    it."""
    session, request = small_session(tmp_path / "run", total_timesteps=10_000, stop_at_success=0.0), StopRequest()
    with closing(session.vec_env):
        summary = run_session(session, request, At(4, lambda: setattr(request, "signal", signal.SIGTERM)))
    assert summary["stopped_by"] == "success"
    assert checkpoints_in(session.run_dir) == [summary["timesteps"]]


def test_a_mistake_that_shows_amid_a_training_costs_nothing(tmp_path: Path) -> None:
    """Would catch a training lost to what a user's setting makes a callback raise, such as environments that can't be
    made once more."""

    def fails() -> None:
        raise UserError("no such thing")

    session = small_session(tmp_path / "run", total_timesteps=10_000)
    with (
        closing(session.vec_env),
        pytest.raises(TrainingFault, match="44 steps: no such thing; go on from step 44"),
    ):
        run_session(session, StopRequest(), At(44, fails))
    assert checkpoints_in(session.run_dir) == [44]


def test_subprocess_environments(tmp_path: Path, cli: Cli) -> None:
    """Environments that can't be sent to another process."""
    flags = ("--vec-env", "subprocess", "--n-envs", 2, "--total-timesteps", 32, "--run-dir", tmp_path / "run")
    outcome = cli("train", *S7, *TINY, *flags)
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_signal_leaves_a_checkpoint(tmp_path: Path, cli: Cli, number: signal.Signals) -> None:
    """Ctrl-C that loses the training, leaves half a file, or says a command that doesn't go on with it."""
    run = tmp_path / "run"
    flags = (*S7, *TINY, "--total-timesteps", "100000000", "--run-dir", str(run))
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", "train", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = run / "progress.csv"
    deadline = time.monotonic() + 250
    try:
        while not (log.is_file() and log.read_text().count("\n") >= 2):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=200)
    finally:
        process.kill()  # it would train for hours
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    done = runs.load(run, "cpu").model.num_timesteps
    assert done > 0
    hint = out.splitlines()[-1].partition("To go on: python -m experiments ")[2]
    arguments = shlex.split(hint)
    assert arguments[-2:] == ["--total-timesteps", "100000000"]
    outcome = cli(*arguments[:-1], done + 64)
    assert outcome.status == 0, outcome.err
    assert runs.load(run, "cpu").model.num_timesteps > done
    assert not list(run.rglob("*partial*"))
