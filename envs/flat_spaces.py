"""Spaces that Stable-Baselines3 refuses, in a form that it takes: nested ones, and numbers that don't start at 0."""

from collections.abc import Iterator
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces

_Space = gym.Space[Any]


class FlatSpaces(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Flattens an environment's spaces; those that Stable-Baselines3 takes as they are stay so.

    - Discrete and MultiDiscrete count from 0, MultiDiscrete and MultiBinary have one dimension, a Box at least one.
    - Observations in a Tuple or a nested Dict become a Dict of such parts, each named by its path: `0`, `hand/cards`.
    - Actions in a Tuple or a Dict become one MultiDiscrete where all parts count, one Box where all are Boxes, the
      parts one after the other.

    Args:
        env: Any environment whose spaces have such parts only.

    Raises:
        ValueError: For other kinds of spaces, actions that mix Boxes with what counts, and parts of the same name.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._observations, self._actions = env.observation_space, env.action_space
        self._parts = list(_leaves(self._observations))
        self.observation_space = _flat_observations(self._observations)
        self.action_space = _flat_actions(self._actions)
        # Most spaces are flat, and then a step costs nothing here.
        self._same_observations = self.observation_space == self._observations
        self._same_actions = self.action_space == self._actions

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self.observation(observation), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take one step, with a flat action."""
        observation, reward, terminated, truncated, info = self.env.step(self.action(action))
        return self.observation(observation), reward, terminated, truncated, info

    def observation(self, observation: Any) -> Any:
        """The environment's own observation in the form of `observation_space`."""
        if self._same_observations:
            return observation
        values = _values(self._observations, observation)
        flat = {name: _flat_value(leaf, value) for (name, leaf), value in zip(self._parts, values, strict=True)}
        return flat if isinstance(self.observation_space, spaces.Dict) else flat[""]

    def action(self, action: Any) -> Any:
        """What the environment itself takes, of an action of `action_space`."""
        if self._same_actions:
            return action
        sizes = [int(np.prod(space.shape or ())) for _, space in _leaves(self._actions)]
        return _nested(self._actions, iter(np.split(np.ravel(action), np.cumsum(sizes)[:-1])))


def _flat_observations(space: _Space) -> _Space:
    if not _children(space):
        return _flat_leaf(space)
    leaves = list(_leaves(space))
    flat = {name: _flat_leaf(leaf) for name, leaf in leaves}
    if len(flat) < len(leaves):
        raise ValueError(f"two parts of the observations have the same name: {[name for name, _ in leaves]}")
    return spaces.Dict(flat)


def _flat_actions(space: _Space) -> _Space:
    if not _children(space):
        return _flat_leaf(space)
    leaves = [_flat_leaf(leaf) for _, leaf in _leaves(space)]
    boxes = [leaf for leaf in leaves if isinstance(leaf, spaces.Box)]
    if not boxes:
        return spaces.MultiDiscrete(np.concatenate([_choices(leaf) for leaf in leaves]))
    if len(boxes) < len(leaves):
        raise ValueError(f"actions that mix Boxes with other kinds can't be made flat: {space}")
    low, high = np.concatenate([box.low.ravel() for box in boxes]), np.concatenate([box.high.ravel() for box in boxes])
    return spaces.Box(low, high, dtype=low.dtype.type)


def _choices(leaf: _Space) -> np.ndarray:
    """How many values each number of a flat part can have."""
    if isinstance(leaf, spaces.MultiDiscrete):
        return leaf.nvec
    return np.array([leaf.n]) if isinstance(leaf, spaces.Discrete) else np.full(leaf.shape or (), 2)


def _flat_leaf(space: _Space) -> _Space:
    match space:
        case spaces.Discrete():
            return spaces.Discrete(int(space.n))
        case spaces.MultiDiscrete():
            return spaces.MultiDiscrete(space.nvec.ravel(), space.dtype.type)
        case spaces.MultiBinary():
            return spaces.MultiBinary(int(np.prod(space.shape)))
        case spaces.Box():
            return space if space.shape else spaces.Box(space.low[None], space.high[None], dtype=space.dtype.type)
    kinds = "Box, Discrete, MultiDiscrete and MultiBinary, in Dict or Tuple"
    raise ValueError(f"{type(space).__name__} can't be made flat, only {kinds}")


def _flat_value(space: _Space, value: Any) -> Any:
    """A value of a part of the environment's own space, as one of `_flat_leaf(space)`."""
    if isinstance(space, spaces.Discrete):
        return value - space.start
    if isinstance(space, spaces.MultiDiscrete):
        value = value - space.start
    return value if isinstance(space, spaces.Box) and space.shape else np.reshape(value, -1)


def _nested(space: _Space, values: Iterator[np.ndarray]) -> Any:
    """A value of a space, of the flat values of its parts."""
    children = _children(space)
    if not children:
        value = np.reshape(next(values), space.shape or ()).astype(space.dtype) + getattr(space, "start", 0)
        # Without a dimension, the sum is a number: what Discrete has, and a Box hasn't.
        return np.asarray(value) if isinstance(space, spaces.Box) else value
    built = [(name, _nested(child, values)) for name, child in children]
    return dict(built) if isinstance(space, spaces.Dict) else tuple(value for _, value in built)


def _children(space: _Space) -> list[tuple[Any, _Space]]:
    """The parts of a Dict or a Tuple, each with what gets it from a value; none of another space."""
    if isinstance(space, spaces.Dict):
        return list(space.spaces.items())
    return list(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else []


def _leaves(space: _Space, path: str = "") -> Iterator[tuple[str, _Space]]:
    """The innermost parts of a space, each with its path."""
    children = _children(space)
    for name, child in children:
        yield from _leaves(child, f"{path}/{name}" if path else str(name))
    if not children:
        yield path, space


def _values(space: _Space, value: Any) -> Iterator[Any]:
    """The values of the innermost parts, in the order of `_leaves`."""
    children = _children(space)
    for name, child in children:
        yield from _values(child, value[name])
    if not children:
        yield value
