"""Environments that say which actions may be taken, from the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tests.agents.worlds import MaskedClockEnv, box
from tests.experiments.conftest import TINY, Cli


class Drawn(MaskedClockEnv):
    """Refuses what its masks forbid, and can be recorded."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  # Gymnasium's own annotation

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(box(3), spaces.Discrete(5))
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def env_id() -> Iterator[str]:
    gym.register("Drawn-v0", entry_point=lambda **kwargs: Drawn(**kwargs))
    yield "Drawn-v0"
    del gym.registry["Drawn-v0"]


def test_masks_from_the_command_line(tmp_path: Path, cli: Cli, env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: `evaluate` or `record` that lets the agent do what it has never done in training."""
    run = tmp_path / "run"
    outcome = cli("train", "--env", env_id, *TINY, "--total-timesteps", 64, "--run-dir", run)
    assert outcome.status == 0, outcome.err
    for arguments in (
        ("evaluate", run, "--episodes", 8, "--sampled"),
        ("record", run, "--output", run / "picture.png"),
    ):
        outcome = cli(*arguments)
        assert outcome.status == 0, outcome.err
    # As in a training, an environment that fails isn't a wrong setting.
    monkeypatch.setattr(Drawn, "action_masks", lambda self: np.zeros(5, dtype=bool))
    outcome = cli("evaluate", run, "--episodes", 8)
    assert outcome.status == 1
    assert len(outcome.err.splitlines()) == 1, outcome.err
