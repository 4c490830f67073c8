"""The previous action in observations."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from envs.previous_action import PreviousAction


class TwoLevers(gym.Env[Any, Any]):
    """Shows nothing; the actions count from a number other than 0."""

    observation_space: gym.Space[Any] = spaces.Discrete(1)
    action_space: gym.Space[Any] = spaces.MultiDiscrete([2, 3], start=[1, -1])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: np.ndarray) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Do nothing."""
        return 0, 0.0, False, False, {}


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_it_follows_the_actions() -> None:
    """Catches: an action shown late, kept over a reset, or an array that its owner changes afterwards."""
    env = PreviousAction(TwoLevers())
    seen, _ = env.reset(seed=0)
    assert (seen["action"].tolist(), seen["start"]) == ([1, -1], 1)
    action = np.array([2, 1])
    seen, *_ = env.step(action)
    action[:] = 1
    assert (seen["action"].tolist(), seen["start"]) == ([2, 1], 0)
    assert env.reset()[0]["start"] == 1
    check_env(env, skip_render_check=True)


def test_plain_numbers_stay_numbers() -> None:
    """Catches: an array without a dimension where a Discrete action is a number."""
    env = PreviousAction(gym.make("Taxi-v4"))
    env.reset(seed=0)
    seen, *_ = env.step(3)
    assert seen["action"] == 3
    assert seen in env.observation_space


def test_other_actions_are_refused() -> None:
    """Catches: a first action outside of the space."""
    with pytest.raises(ValueError, match="PreviousAction shows Discrete or MultiDiscrete actions, not Box"):
        PreviousAction(gym.make("Pendulum-v1"))
