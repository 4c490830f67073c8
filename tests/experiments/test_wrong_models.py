"""Model files that don't belong to their run."""

from pathlib import Path

import gymnasium as gym

from agents import ExpireSpanPPO
from tests.experiments.conftest import Cli


def test_a_model_of_another_task_is_refused(cli: Cli, run_copy: Path) -> None:
    """Would catch: a traceback, or figures of an agent that was trained for something else."""
    core = {"dim": 16, "slots": 6, "ramp_length": 3}
    model = ExpireSpanPPO("MlpPolicy", gym.make("CartPole-v1"), policy_kwargs=core, device="cpu")
    model.save(run_copy / "model.safetensors")
    for command in ("evaluate", "record"):
        outcome = cli(command, run_copy)
        assert outcome.status == 2
        assert "isn't of this run" in outcome.err
        assert outcome.err.count("\n") == 1
