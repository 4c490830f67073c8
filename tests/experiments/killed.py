"""Trainings that are killed and resumed, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents import checkpoint
from experiments import runs

UPDATES = 20
STEPS = 8 * 16
"""Of a rollout: 8 environments, 16 steps."""
FLAGS = (
    *("--env", "MiniGrid-MemoryS7-v0", "--env-args", "agent_view_size=3", "max_steps=20", "--vec-env", "batched"),
    *("--dim", "16", "--depth", "2", "--heads", "2", "--slots", "6", "--max-span", "20", "--ramp-length", "3"),
    *("--n-envs", "8", "--n-steps", "16", "--batch-size", "64", "--n-epochs", "2", "--torch-threads", "1"),
    *("--progress", "none", "--device", "cpu", "--checkpoint-every", str(2 * STEPS), "--learning-rate-end", "1e-5"),
)


def start(*arguments: object) -> "subprocess.Popen[str]":
    """The program in a process of its own."""
    command = [sys.executable, "-m", "experiments", "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def begun(run_dir: Path, *more: object) -> "subprocess.Popen[str]":
    """A new training."""
    return start(*FLAGS, "--run-dir", run_dir, "--total-timesteps", UPDATES * STEPS, *more)


def resumed(run_dir: Path) -> "subprocess.Popen[str]":
    """The same, gone on with."""
    return start("--resume", run_dir, "--total-timesteps", UPDATES * STEPS, "--progress", "none")


def finished(process: "subprocess.Popen[str]") -> str:
    """Waits for a training to end well; its standard error."""
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return errors


def kill_when(process: "subprocess.Popen[str]", happened: Callable[[], bool], delay: float = 0.0) -> bool:
    """SIGKILL once it has happened, and a delay later; False if the training ended before."""
    while not happened():
        if process.poll() is not None:
            return False
        time.sleep(0.0002)
    time.sleep(delay)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def has_checkpoints(run_dir: Path, count: int = 1) -> bool:
    """Whether so many are there."""
    return len(list((run_dir / runs.CHECKPOINTS).glob("step-*.safetensors"))) >= count


def is_writing(run_dir: Path) -> bool:
    """Whether a checkpoint is being written: a hidden file lies in the folder."""
    folder = run_dir / runs.CHECKPOINTS
    return folder.is_dir() and any(path.name.startswith(".") for path in folder.iterdir())


def is_writing_after(run_dir: Path, count: int) -> bool:
    """Whether another checkpoint is being written, so many being there already."""
    return has_checkpoints(run_dir, count) and is_writing(run_dir)


def learned(run_dir: Path) -> dict[str, Any]:
    """Weights and optimiser of the finished run, its counters, and its last episodes but for the clock's time."""
    tree = checkpoint.read(run_dir / runs.MODEL)
    assert isinstance(tree, dict)
    episodes = {name: tree["episodes"][name] for name in ("r", "l")}
    return {name: tree[name] for name in ("weights", "optimizer", "counters")} | {"episodes": episodes}
