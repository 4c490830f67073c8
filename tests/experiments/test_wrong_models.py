"""Model files that don't belong to their run."""

import zipfile
from pathlib import Path

import gymnasium as gym

from agents import ExpireSpanPPO
from tests.experiments.conftest import Cli


def test_a_model_of_another_task_is_refused(cli: Cli, run_copy: Path) -> None:
    """Would catch: a traceback, or figures of an agent that was trained for something else."""
    core = {"dim": 16, "slots": 6, "ramp_length": 3}
    ExpireSpanPPO("MlpPolicy", gym.make("CartPole-v1"), policy_kwargs=core, device="cpu").save(run_copy / "model.zip")
    for command in ("evaluate", "record"):
        outcome = cli(command, run_copy)
        assert outcome.status == 2
        assert "isn't of this run" in outcome.err
        assert outcome.err.count("\n") == 1


def test_a_model_file_names_no_module_of_ours_but_its_policy(run_copy: Path) -> None:
    """Would catch: an object of ours pickled by its module's name, so that moving the module makes every run
    unreadable. The policy and its features extractor are named; they are part of the public interface."""
    with zipfile.ZipFile(run_copy / "model.zip") as file:
        data = file.read("data").decode()
    assert "agents." in data
    for name in ("span_coefficient.", "rollout", "memory_statistics"):
        assert f"agents.{name}" not in data
