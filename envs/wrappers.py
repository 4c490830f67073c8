"""How our agents read a MiniGrid task: one thin wrapper, since it runs at every step of training."""

from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import UInt8
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.minigrid_env import MiniGridEnv

Codes = UInt8[np.ndarray, "view view 3"]
"""Object, colour and state of each cell in view. `[i, j]`: i from left to right, j from far to near; the
agent stands at `[view // 2, view - 1]` and faces lower j."""

MAX_CODE = max(OBJECT_TO_IDX.values())


class MiniGridCodes(gym.Wrapper[Codes, SupportsInt, dict[str, Any], SupportsInt], gym.utils.RecordConstructorArgs):
    """A MiniGrid environment that is observed by its image codes alone and has only its first actions.

    Observations are `Box(0, 10, (view, view, 3), uint8)`: codes, no intensities. The bound of 10, MiniGrid's
    highest code, also keeps Stable-Baselines3 from taking them for an image, which it would divide by 255.
    The last step's `info` gets `is_success` (terminated with a reward above 0), unless it's there already.

    Args:
        env: A MiniGrid environment.
        n_actions: How many of MiniGrid's actions (left, right, forward, pickup, drop, toggle, done) to keep,
            from the first on.

    Raises:
        ValueError: If `env` isn't a MiniGrid environment.
    """

    def __init__(self, env: gym.Env[Any, Any], n_actions: int) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, n_actions=n_actions)
        gym.Wrapper.__init__(self, env)
        base = env.unwrapped
        if not isinstance(base, MiniGridEnv):
            raise ValueError(f"MiniGridCodes wraps MiniGrid environments, not {type(base).__name__}")
        view = base.agent_view_size
        self.action_space = spaces.Discrete(n_actions)
        self.observation_space = spaces.Box(0, MAX_CODE, (view, view, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Codes, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation["image"], info

    def step(self, action: SupportsInt) -> tuple[Codes, float, bool, bool, dict[str, Any]]:
        """Take one step; the last one's `info` has `is_success`."""
        # A plain integer: comparing NumPy's with MiniGrid's enumeration, up to seven times, is slow.
        observation, reward, terminated, truncated, info = self.env.step(int(action))
        if terminated or truncated:
            info.setdefault("is_success", bool(terminated and float(reward) > 0))
        return observation["image"], float(reward), terminated, truncated, info
