"""Classic control without velocities: what an agent must then keep in mind is where things were a moment ago."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class NoVelocity(gym.ObservationWrapper[np.ndarray, Any, np.ndarray], gym.utils.RecordConstructorArgs):
    """Leaves of an observation vector only the components that are no velocities.

    Args:
        env: An environment that is observed by a vector.
        kept: Indices of the components to keep, in this order: (0, 2) are CartPole's position and angle, (0, 1)
            Pendulum's cosine and sine.

    Raises:
        ValueError: If observations aren't vectors, or have no such component.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any], kept: Sequence[int]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, kept=kept)
        gym.ObservationWrapper.__init__(self, env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"NoVelocity reads vectors, a Box of one dimension, not {space}")
        if not all(0 <= index < space.shape[0] for index in kept):
            raise ValueError(f"kept must be indices from 0 to {space.shape[0] - 1}, not {list(kept)}")
        self._kept = list(kept)
        self.observation_space = spaces.Box(space.low[self._kept], space.high[self._kept], dtype=space.dtype.type)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """The kept components of an observation, copied."""
        return observation[self._kept]
