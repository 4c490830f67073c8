"""Environments for the tests of workers; here, so that a worker can import them."""

import os
import signal
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class DictEnv(gym.Env[dict[str, Any], np.ndarray]):
    """Random observations of every kind, random rewards, terminations and truncations, an info now and then."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "box": spaces.Box(-np.inf, np.inf, (2, 3), np.float32),
                "codes": spaces.Box(0, 255, (3, 3, 3), np.uint8),
                "discrete": spaces.Discrete(5),
                "several": spaces.MultiDiscrete([3, 4]),
                "flags": spaces.MultiBinary(4),
            }
        )
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.last_action: np.ndarray | None = None

    def _observation(self) -> dict[str, Any]:
        random = self.np_random
        return {
            "box": random.normal(size=(2, 3)).astype(np.float32),
            "codes": random.integers(256, size=(3, 3, 3), dtype=np.uint8),
            "discrete": random.integers(5),
            "several": random.integers(3, size=2),
            "flags": random.integers(2, size=4, dtype=np.int8),
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """With an info that says which options it was given."""
        super().reset(seed=seed)
        return self._observation(), {"options": options, "draw": int(self.np_random.integers(1000))}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Rewards the sum of the action and a draw."""
        self.last_action = action
        terminated, truncated, says = (bool(draw < 0.1) for draw in self.np_random.random(3))
        info = {"says": float(self.np_random.random())} if says else {}
        return self._observation(), float(action.sum() + self.np_random.normal()), terminated, truncated, info

    def unpicklable(self) -> Any:
        """What no pipe takes."""
        return lambda: None


class EchoEnv(gym.Env[np.ndarray, Any]):
    """Rewards the sum of what it is given as an action, of any space."""

    def __init__(self, action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = spaces.Box(-1, 1, (1,)), action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Nothing to see."""
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """An episode that never ends."""
        return np.zeros(1, np.float32), float(np.sum(action)), False, False, {}


class FaultyEnv(gym.Env[np.ndarray, np.int64]):
    """Does in its second step what `fault` says: raise, die, or hang; or can't be made."""

    def __init__(self, fault: str = "", discrete: int = 3) -> None:
        if fault == "make":
            raise OSError("no such level")
        if fault == "hang, when made":
            time.sleep(3600)
        if fault == "slow":
            time.sleep(0.4)
        self.fault = fault
        self.observation_space = spaces.Box(0, 1, (1,), np.float32)
        self.action_space = spaces.Discrete(discrete)
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Zeros."""
        super().reset(seed=seed)
        if self.fault == "reset":
            raise ValueError("no level for this seed")
        if self.fault == "hang, in reset":
            time.sleep(3600)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Zeros, and the fault."""
        self.steps += 1
        if self.steps == 2 and self.fault == "step":
            raise KeyError("a door too many")
        if self.steps == 2 and self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.steps == 2 and self.fault == "die, a child holds the pipe":
            if os.fork() == 0:
                time.sleep(10)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            time.sleep(3600)
        if self.fault == "slow":
            time.sleep(0.4)
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def process(self) -> int:
        """The worker's process id."""
        return os.getpid()

    def modules(self) -> list[str]:
        """What the worker has imported."""
        import sys

        return [name for name in ("torch", "stable_baselines3") if name in sys.modules]
