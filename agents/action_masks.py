"""Which actions may be taken: masks as sb3-contrib's MaskablePPO has them.

An environment says it by a method `action_masks()`, asked for before each step. A mask has an entry for each choice
that a distribution makes, True where it may be made: one for each action of a Discrete space; those of all parts of a
MultiDiscrete one, in a row; and for a MultiBinary one two a bit, whether it may be 0 and whether it may be 1.

Letters: b batch, c choices.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

METHOD = "action_masks"
"""What an environment that has masks is asked for."""


def choices_of(space: spaces.Space[Any]) -> list[int]:
    """The number of choices in each part of an action.

    Raises:
        ValueError: for a Box, or another space whose actions can't be counted.
    """
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec.flatten().tolist()
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    raise ValueError(
        f"action masks are for Discrete, MultiDiscrete and MultiBinary actions, not for {space}: take them away, or "
        f"learn with use_masking=False"
    )


def masked_logits(
    logits: Float[Tensor, "b n"], masks: Bool[Tensor, "b c"], space: spaces.Space[Any]
) -> Float[Tensor, "b n"]:
    """Logits by which what may not be done has probability 0.

    It then contributes nothing to an entropy, and gets no gradient.

    Args:
        logits: of SB3's action distribution, a bit's one number in a MultiBinary space.
        masks: True where a choice may be made.
        space: of the actions.
    """
    # Finite, since 0 times infinity is no number in an entropy's gradient; its exponential is 0 all the same.
    never = torch.finfo(logits.dtype).min
    if isinstance(space, spaces.MultiBinary):
        zero, one = masks.unflatten(-1, (-1, 2)).unbind(-1)
        return logits.masked_fill(~one, never).masked_fill(~zero, -never)
    return logits.masked_fill(~masks, never)


def checked_masks(
    masks: Any, n_envs: int, space: spaces.Space[Any], numbers: Sequence[int] | None = None
) -> Bool[np.ndarray, " n_envs c"]:
    """Masks as one array.

    Args:
        masks: one for each environment, of any shape.
        n_envs: environments.
        space: of the actions.
        numbers: of the environments, for errors; default: from 0.

    Raises:
        ValueError: for masks of another size, or one that allows no action, naming the environment.
    """
    parts = choices_of(space)
    rows = [np.asarray(mask, dtype=bool).reshape(-1) for mask in masks]
    if len(rows) != n_envs:
        raise ValueError(f"there are action masks of {len(rows)} environments, and {n_envs} environments")
    for number, row in zip(range(n_envs) if numbers is None else numbers, rows, strict=True):
        if len(row) != sum(parts):
            raise ValueError(
                f"the action mask of environment {number} has {len(row)} entries; {space} needs {sum(parts)}"
            )
    stacked = np.stack(rows)
    check_possible(torch.from_numpy(stacked), space, numbers)
    return stacked


def check_possible(
    masks: Bool[Tensor, "*steps n_envs c"], space: spaces.Space[Any], numbers: Sequence[int] | None = None
) -> None:
    """Looks whether each mask allows an action; waits for the device.

    Raises:
        ValueError: where a mask allows nothing in a part of the action, naming the environment by its
            number, or counted from 0.
    """
    parts = masks.split(choices_of(space), dim=-1)
    possible = torch.stack([part.any(-1) for part in parts], dim=-1)
    if bool(possible.all()):
        return
    *_, environment, part = (~possible).nonzero()[0].tolist()
    number = environment if numbers is None else numbers[environment]
    where = f", in part {part} of it" if len(parts) > 1 else ""
    raise ValueError(f"the action mask of environment {number} allows no action{where}: at least one must be True")


def has_action_masks(env: gym.Env[Any, Any] | VecEnv) -> bool:
    """Whether an environment, or each of a vector, has a method `action_masks`."""
    return env.has_attr(METHOD) if isinstance(env, VecEnv) else env.has_wrapper_attr(METHOD)


def uses_masks(env: gym.Env[Any, Any] | VecEnv, use_masking: bool | None) -> bool:
    """Whether an environment is to be asked for masks: as told; None: where it has them.

    Raises:
        ValueError: if it is, and has none, or has actions for which there are none.
    """
    if use_masking is False:
        return False
    has_masks = has_action_masks(env)
    if use_masking and not has_masks:
        raise ValueError(
            f"use_masking=True, but the environment has no method {METHOD}(): give it one, wrap it in one of "
            f"sb3_contrib's ActionMasker, or leave use_masking out"
        )
    if has_masks:
        choices_of(env.action_space)
    return has_masks


def get_action_masks(env: gym.Env[Any, Any] | VecEnv, indices: int | Iterable[int] | None = None) -> np.ndarray:
    """What may be done in the step to come, for the `action_masks` of `predict`.

    Args:
        env: an environment, or a vector of them.
        indices: which of a vector's; default: all.

    Raises:
        ValueError: for masks of another size than the actions, or one that allows no action.
    """
    if not isinstance(env, VecEnv):
        masks: np.ndarray = checked_masks([env.get_wrapper_attr(METHOD)()], 1, env.action_space)[0]
        return masks
    numbers = list(env._get_indices(indices))
    if not numbers:
        return np.zeros((0, sum(choices_of(env.action_space))), dtype=bool)
    return checked_masks(env.env_method(METHOD, indices=numbers), len(numbers), env.action_space, numbers)
