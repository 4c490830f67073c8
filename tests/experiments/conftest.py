"""Runs the command line in this process, and trains one tiny agent for all tests that need one."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from experiments.cli import main

TINY = (
    *("--dim", "16", "--depth", "2", "--heads", "2", "--slots", "6", "--max-span", "20", "--ramp-length", "3"),
    *("--n-envs", "4", "--n-steps", "16", "--batch-size", "32", "--n-epochs", "1", "--torch-threads", "1"),
    *("--progress", "none", "--device", "cpu"),
)
"""Flags that make any training small."""
S7 = ("--env", "MiniGrid-MemoryS7-v0", "--env-args", "agent_view_size=3", "max_steps=20")


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line came to."""

    status: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs the program with these arguments."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capfd.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session", autouse=True)
def _threads_as_before() -> object:
    """The program sets PyTorch's threads for its process, which here is that of all tests."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a tiny agent for MiniGrid-MemoryS7; tests only read it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    status = main(
        ["train", *S7, *TINY, "--total-timesteps", "256", "--checkpoint-every", "64", "--run-dir", str(folder)]
    )
    assert status == 0
    return folder


@pytest.fixture
def run_copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to change."""
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    return copy
