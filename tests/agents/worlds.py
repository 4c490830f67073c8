"""Small environments whose right answers are known."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class RecallEnv(gym.Env[np.ndarray, np.int64]):
    """A cue at the first step, silence, and at the last step the question which cue it was.

    Chance is 0.5, whatever a policy without a memory does: what it sees at the last step is always the same.
    """

    def __init__(self, delay: int = 6) -> None:
        self.observation_space = spaces.Box(0, 1, (3,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.delay = delay
        self._step, self._cue = 0, 0

    def _observation(self) -> np.ndarray:
        observation = np.zeros(3, np.float32)
        if self._step == 0:
            observation[self._cue] = 1
        if self._step == self.delay:
            observation[2] = 1
        return observation

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._step, self._cue = 0, int(self.np_random.integers(2))
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        done = self._step == self.delay
        success = bool(done and int(action) == self._cue)
        self._step += 1
        return self._observation(), float(success), done, False, {"is_success": success} if done else {}


class ClockEnv(gym.Env[Any, Any]):
    """Random observations of any space; episodes of a random length, some ended by a time limit, some for good.

    The reward is random too: nothing can be learned, everything can be checked.
    """

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space, mean_length: float = 9) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self._end = 1 / mean_length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        terminated = bool(self.np_random.random() < self._end / 2)
        truncated = not terminated and bool(self.np_random.random() < self._end / 2)
        info = {"is_success": terminated} if terminated or truncated else {}
        return self.observation_space.sample(), float(self.np_random.normal()), terminated, truncated, info


class MaskedClockEnv(ClockEnv):
    """`ClockEnv` in which some actions may not be taken, others at each step; it insists.

    At least one choice is left in each part of an action, often no more.
    """

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space, mean_length: float = 9) -> None:
        super().__init__(observation_space, action_space, mean_length)
        # By nothing of the agent's, which would bring PyTorch into worker processes.
        if isinstance(action_space, spaces.MultiBinary):
            self._parts = [2] * int(action_space.shape[0])
        else:
            assert isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete)
            sizes = action_space.n if isinstance(action_space, spaces.Discrete) else action_space.nvec
            self._parts = [int(size) for size in np.atleast_1d(sizes)]
        self._masks: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        result = super().reset(seed=seed, options=options)
        self._draw_masks()
        return result

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        for mask, choice in zip(self._masks, np.atleast_1d(action).astype(int).flatten(), strict=True):
            assert mask[choice], f"{action} may not be taken"
        result = super().step(action)
        self._draw_masks()
        return result

    def action_masks(self) -> np.ndarray:
        return np.concatenate(self._masks)

    def _draw_masks(self) -> None:
        self._masks = [self.np_random.random(choices) < 0.4 for choices in self._parts]
        for mask in self._masks:
            mask[self.np_random.integers(len(mask))] = True


class MaskedRecallEnv(RecallEnv):
    """`RecallEnv` with two actions more, which may never be taken; it insists."""

    def __init__(self, delay: int = 6) -> None:
        super().__init__(delay)
        self.action_space = spaces.Discrete(4)

    def action_masks(self) -> np.ndarray:
        return np.array([True, True, False, False])

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert action < 2, f"{action} may not be taken"
        return super().step(action)


def box(*shape: int) -> spaces.Box:
    """A float box of this shape, within -1 and 1."""
    return spaces.Box(-1, 1, shape, np.float32)
