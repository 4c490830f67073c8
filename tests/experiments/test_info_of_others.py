"""What environments of others say in `info`, by names that ours use for something else."""

import json
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from agents.collection import window_reaches
from experiments import runs
from experiments.moments import record_episode
from tests.experiments.conftest import TINY, Cli


class Cards(gym.Env[Any, Any]):
    """A game that counts its turns, is won now and then, and says so only then; the rest are its own words."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's)
    render_mode = "rgb_array"

    def __init__(self, says_all: bool = False, late: bool = False) -> None:
        self.says_all, self.last_turn = says_all, 30 if late else 3

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.turns = 0
        return np.zeros(2, np.float32), {"turns": 0, "length": "long"}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.turns += 1
        won = self.turns < 4 and bool(self.np_random.random() < 0.2)
        info: dict[str, Any] = {"turns": self.turns, "length": "long", "correct_turns": "few", "corridor_length": 3}
        if won or (self.says_all and self.turns >= self.last_turn):
            info["is_success"] = won
        return np.zeros(2, np.float32), float(won), won, self.turns >= self.last_turn, info

    def render(self) -> np.ndarray:
        return np.full((40, 60, 3), 20 * self.turns, np.uint8)


gym.register("ExpireSpanTest/Cards-v0", lambda says_all=False, late=False, **_: Cards(says_all, late))
CARDS = ("--env", "ExpireSpanTest/Cards-v0", *TINY)


def test_names_of_ours(tmp_path: Path, cli: Cli) -> None:
    """Catches: a traceback, a corridor's length or a share of right turns, of a game that has `length` and `turns` of
    its own; success called unsaid, where some episodes say it."""
    run_dir = tmp_path / "run"
    assert cli("train", *CARDS, "--total-timesteps", 64, "--run-dir", run_dir).status == 0
    outcome = cli("evaluate", run_dir, "--episodes", 20, "--json")
    assert outcome.status == 0, outcome.err
    result = json.loads(outcome.out)
    assert [result[name] for name in ("correct_turn_rate", "turns")] == [None, None]
    silent = int(result["success_missing"].split()[0])
    assert 0 < silent < 20
    assert result["success_missing"] == f"{silent} of 20 episodes ended without is_success in their info"
    assert "length 1-10:    unknown in 20 episodes" in cli("evaluate", run_dir, "--episodes", 20).out
    run = runs.load(run_dir, "cpu")
    assert record_episode(gym.make("ExpireSpanTest/Cards-v0"), run.model, 1, True, 3).note == ""


@pytest.mark.parametrize("says_all", [False, True])
def test_success_that_is_said_of_successes_alone(tmp_path: Path, cli: Cli, says_all: bool) -> None:
    """Catches: a training that is stopped since every episode that says so has succeeded, or whose user isn't told why
    it never stops; and one that isn't stopped where all episodes speak."""
    flags = ("--env-args", f"says_all={says_all}", "--stop-at-success", 0.1, "--stats-window-size", 20)
    outcome = cli("train", *CARDS, *flags, "--total-timesteps", 640, "--run-dir", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    assert ("stopped early" in outcome.out) == says_all
    told = "--stop-at-success 0.1: an episode has ended without is_success"
    assert outcome.err.count(told) == (not says_all)
    if not says_all:
        # The window that is saved with the run is full of successes.
        outcome = cli("train", "--resume", tmp_path / "run", "--total-timesteps", 960)
        assert (outcome.status, outcome.err.count(told), "stopped early" in outcome.out) == (0, 1, False)


def test_a_window_that_successes_fill_first(tmp_path: Path, cli: Cli) -> None:
    """Catches: a training that is stopped by those episodes that end first, while the others, which fail, go on."""
    flags = ("--n-envs", 32, "--env-args", "late=True", "--stop-at-success", 0.9, "--stats-window-size", 8)
    outcome = cli("train", *CARDS, *flags, "--total-timesteps", 2048, "--run-dir", tmp_path / "run")
    assert outcome.status == 0, outcome.err
    assert "stopped early" not in outcome.out


def test_success_is_a_truth_value() -> None:
    """Catches: a success of 0.5 that `evaluate` counts as one, and early stopping as half of one."""
    assert window_reaches(deque([0.5, np.True_, 2], maxlen=3), 1.0)
    assert not window_reaches(deque([0.0, 2, 2], maxlen=3), 0.7)
