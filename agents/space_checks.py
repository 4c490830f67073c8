"""Spaces that Stable-Baselines3 takes, and then fails on or acts wrongly in: refused, with what would be right."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_obs_shape, is_image_space

_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
SMALLEST_IMAGE = 36
"""Pixels that SB3's NatureCNN needs in height and width for its three convolutions."""


def check_spaces(observations: gym.Space[Any], actions: gym.Space[Any], nature_cnn: bool) -> None:
    """Refuses what would fail later, or be something else than it says.

    Args:
        observations, actions: as the policy has them.
        nature_cnn: whether images are read by SB3's NatureCNN.

    Raises:
        ValueError: for choices that aren't counted from 0 or have several dimensions, observations without a dimension,
            and images too small for NatureCNN.
        NotImplementedError: for observations that a rollout can't keep.
    """
    _check_choices("actions", actions)
    get_obs_shape(observations)
    for _, what, part in _parts(observations):
        _check_choices(what, part)
        if isinstance(part, spaces.Box) and part.shape == ():
            raise ValueError(f"{what} are numbers without a dimension, {part}: make them vectors of one, by a wrapper")
        if nature_cnn and is_image_space(part) and sorted(part.shape or ())[1] < SMALLEST_IMAGE:
            raise ValueError(
                f"{what} are images of shape {part.shape}, and SB3's NatureCNN needs {SMALLEST_IMAGE} by "
                f"{SMALLEST_IMAGE} pixels at least: enlarge them, or give a features_extractor_class that reads them"
            )


def check_environment(env: Any) -> None:
    """Refuses what makes environments, or isn't one of those that Stable-Baselines3 steps.

    Args:
        env: what was given as an environment, unless it's a `VecEnv`.

    Raises:
        ValueError: for these, with what would be right.
    """
    if isinstance(env, gym.vector.VectorEnv):
        raise ValueError(
            f"env is a {type(env).__name__}, a vector environment of Gymnasium's; use one of Stable-Baselines3's: "
            f"make_vec_env(...) or DummyVecEnv([...])"
        )
    if isinstance(env, type) or (callable(env) and not isinstance(env, gym.Env)):
        name = getattr(env, "__name__", "env")
        raise ValueError(f"env is a {type(env).__name__} that makes environments: make one first, env={name}(...)")
    if not hasattr(env, "observation_space"):
        raise ValueError(f"env is of type {type(env).__name__}, and no environment: it has no observation_space")


def check_numbers(observations: gym.Space[Any]) -> None:
    """Refuses observations that aren't numbers, before Stable-Baselines3 fails on them with a `TypeError`.

    Raises:
        ValueError: for these, such as a text.
    """
    for _, what, part in _parts(observations):
        # Nested ones SB3 refuses itself.
        if not isinstance(part, (*_NUMBERS, spaces.Dict, spaces.Tuple)):
            raise ValueError(
                f"{what} are of a {type(part).__name__}, which no policy reads: leave them out by a wrapper; "
                f"envs.make_env(...) makes MiniGrid's environments, and ours in its style, without their mission"
            )


def check_observed(space: gym.Space[Any], observed: Any) -> None:
    """Refuses fractions where the space says bytes: kept as such, they would be other numbers.

    Args:
        space: of the observations.
        observed: by the environments.

    Raises:
        ValueError: for these.
    """
    for name, what, part in _parts(space):
        dtype = np.asarray(observed[name] if name else observed).dtype
        if isinstance(part, spaces.Box) and part.dtype == np.uint8 and np.issubdtype(dtype, np.floating):
            raise ValueError(
                f"{what} are {dtype}, and their space says uint8. VecNormalize leaves a space as it is unless it is an "
                f"image's: give it norm_obs=False, or norm_obs_keys without these, or make them floats before it"
            )


def _parts(observations: gym.Space[Any]) -> Iterator[tuple[str, str, gym.Space[Any]]]:
    """The parts of a dictionary, by name and what an error calls them; another space as one part without a name."""
    if not isinstance(observations, spaces.Dict):
        yield "", "observations", observations
        return
    for name, part in observations.spaces.items():
        yield name, f"observations[{name!r}]", part


def _check_choices(what: str, space: gym.Space[Any]) -> None:
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim > 1:
        raise ValueError(f"{what} are a MultiDiscrete of shape {space.shape}: flatten them by a wrapper")
    if np.any(space.start != 0):
        raise ValueError(f"{what} are {space}, counted from {space.start}: count them from 0, by a wrapper")
