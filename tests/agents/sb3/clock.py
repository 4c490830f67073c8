"""An environment that other processes make; apart from the rest, which would bring PyTorch into them."""

from typing import Any

import gymnasium as gym
from gymnasium import spaces

from tests.agents.worlds import ClockEnv, box


def clock() -> gym.Env[Any, Any]:
    """Vectors, and four actions."""
    return ClockEnv(box(3), spaces.Discrete(4))
