"""What an agent did last, beside what it sees: some tasks can't be understood from observations alone."""

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class PreviousAction(gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Adds the previous action to each observation, and whether there was one.

    Observations become a Dict of `observation`, `action` (at an episode's start the first there is) and `start`
    (1 at an episode's start, else 0). A bandit, for one, says only whether it paid, not which arm was pulled: the
    agent knows what its policy would do, not what was drawn of it.

    Args:
        env: An environment with Discrete or MultiDiscrete actions.

    Raises:
        ValueError: For other actions.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        actions = env.action_space
        if not isinstance(actions, spaces.Discrete | spaces.MultiDiscrete):
            raise ValueError(f"PreviousAction shows Discrete or MultiDiscrete actions, not {actions}")
        self._first = np.zeros(actions.shape or (), actions.dtype) + actions.start
        self.observation_space = spaces.Dict(
            {"observation": env.observation_space, "action": actions, "start": spaces.Discrete(2)}
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with(observation, self._first, 1), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take one step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with(observation, action, 0), reward, terminated, truncated, info

    def _with(self, observation: Any, action: Any, start: int) -> dict[str, Any]:
        return {"observation": observation, "action": np.copy(action)[()], "start": start}
