"""Observations of another shape than their space's: kept beside others, they would be said to fit nowhere, or be
repeated until they fit; and rewards that are no number. Nothing of PyTorch is imported here: workers import this."""

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.faults import Unfit

SIMPLE = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
KINDS = "Box, Discrete, MultiDiscrete or MultiBinary"
"""The spaces that actions, observations and the parts of a Dict of them may be of, and what they are called."""


def parts_of(space: gym.Space[Any]) -> Mapping[str, gym.Space[Any]]:
    """The parts of a Dict by name; another space under the empty name."""
    return space.spaces if isinstance(space, spaces.Dict) else {"": space}


def check_shape(observation: Any, wanted: tuple[int, ...], name: str = "") -> None:
    """Looks at an observation, or a part of one. A bare number may stand for an array of one number.

    Raises:
        Unfit: For another shape than is wanted.
    """
    shape = np.shape(observation)
    if shape != wanted and (shape, math.prod(wanted)) != ((), 1):
        what = f"an observation's {name!r}" if name else "an observation"
        raise Unfit(f"{what} is of shape {shape}, its space of {wanted}")


def as_number(reward: Any) -> float:
    """A reward as a number; an array without a dimension is one.

    Raises:
        Unfit: For anything else.
    """
    shape = getattr(reward, "shape", ())
    if shape != ():
        raise Unfit(f"the reward is an array of shape {tuple(shape)}; it must be a number")
    try:
        return float(reward)
    except (TypeError, ValueError):
        kind = "None" if reward is None else type(reward).__name__
        raise Unfit(f"the reward is {kind}; it must be a number") from None


class ShapesChecked(gym.Wrapper[Any, Any, Any, Any]):
    """Raises for an observation of another shape than its space's, or with a part of another."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._shapes = {name: part.shape or () for name, part in parts_of(env.observation_space).items()}

    def _check(self, observation: Any) -> None:
        for name, shape in self._shapes.items():
            check_shape(observation[name] if name else observation, shape, name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The environment's own reset."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._check(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The environment's own step."""
        stepped = self.env.step(action)
        self._check(stepped[0])
        return stepped
