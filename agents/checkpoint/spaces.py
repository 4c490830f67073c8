"""Gymnasium's spaces as plain values."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from agents.checkpoint.errors import CheckpointError, shown
from agents.checkpoint.tree import Tree, fields

_KINDS = "Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these"


def space_to_tree(space: gym.Space[Any]) -> Tree:
    """Describes a space; the state of its random generator is no part of it.

    Raises:
        CheckpointError: for other spaces than Box, Discrete, MultiDiscrete, MultiBinary and Dict; for subclasses too,
            which may mean something else.
    """
    kind = type(space)
    if isinstance(space, spaces.Box) and kind is spaces.Box:
        bounds = {"low": space.low, "high": space.high}
        # Where integers have no bound, the bound is that of their dtype, and only these tell it from a real one.
        bounded = {"bounded_below": space.bounded_below, "bounded_above": space.bounded_above}
        return {"kind": "Box", **bounds, **{name: np.asarray(flags) for name, flags in bounded.items()}}
    if isinstance(space, spaces.Discrete) and kind is spaces.Discrete:
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": space.dtype.name}
    if isinstance(space, spaces.MultiDiscrete) and kind is spaces.MultiDiscrete:
        return {"kind": "MultiDiscrete", "nvec": space.nvec, "start": space.start}
    if isinstance(space, spaces.MultiBinary) and kind is spaces.MultiBinary:
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, spaces.Dict) and kind is spaces.Dict:
        return {"kind": "Dict", "spaces": {name: space_to_tree(part) for name, part in space.spaces.items()}}
    raise CheckpointError(f"{shown(str(space))} can't be described: a checkpoint holds {_KINDS}")


def space_from_tree(tree: Tree) -> gym.Space[Any]:
    """The space that was described.

    Args:
        tree: of `space_to_tree`.

    Raises:
        CheckpointError: if the description is damaged.
    """
    kind = tree.get("kind") if isinstance(tree, dict) else None
    make = _MAKERS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise CheckpointError(f"a space is described as {shown(tree)}, and not as {_KINDS}: take another checkpoint")
    try:
        return make(tree)
    except CheckpointError:
        raise
    # What gymnasium and NumPy say of bounds, counts and dtypes that can't be.
    except (ValueError, TypeError, OverflowError, AssertionError) as error:
        raise CheckpointError(
            f"a {kind} can't be as it is described ({shown(str(error))}): take another checkpoint"
        ) from error


def _box(tree: Tree) -> spaces.Box:
    parts = fields(tree, "a Box", "kind", "low", "high", "bounded_below", "bounded_above")
    low, high = parts["low"], parts["high"]
    below, above = parts["bounded_below"], parts["bounded_above"]
    if not all(isinstance(array, np.ndarray) and array.shape == np.shape(low) for array in (low, high, below, above)):
        raise CheckpointError("a Box isn't described by four arrays of one shape: take another checkpoint")
    if low.dtype != high.dtype or not below.dtype == above.dtype == np.bool_:
        raise CheckpointError("a Box is described by arrays of other dtypes than its own: take another checkpoint")
    box = spaces.Box(low, high, dtype=low.dtype)
    box.bounded_below, box.bounded_above = below, above
    return box


def _discrete(tree: Tree) -> spaces.Discrete:
    parts = fields(tree, "a Discrete", "kind", "n", "start", "dtype")
    if type(parts["n"]) is not int or type(parts["start"]) is not int or not isinstance(parts["dtype"], str):
        raise CheckpointError(f"a Discrete is described as {shown(tree)}: take another checkpoint")
    if parts["dtype"] == "int64":
        return spaces.Discrete(parts["n"], start=parts["start"])  # gymnasium 1.2 has no other, and no argument for it
    return spaces.Discrete(parts["n"], start=parts["start"], dtype=np.dtype(parts["dtype"]))


def _multi_discrete(tree: Tree) -> spaces.MultiDiscrete:
    parts = fields(tree, "a MultiDiscrete", "kind", "nvec", "start")
    nvec, start = parts["nvec"], parts["start"]
    if not isinstance(nvec, np.ndarray) or not isinstance(start, np.ndarray) or nvec.dtype != start.dtype:
        raise CheckpointError("a MultiDiscrete isn't described by two arrays of one dtype: take another checkpoint")
    return spaces.MultiDiscrete(nvec, dtype=nvec.dtype, start=start)


def _multi_binary(tree: Tree) -> spaces.MultiBinary:
    n = fields(tree, "a MultiBinary", "kind", "n")["n"]
    if not all(type(size) is int for size in (n if isinstance(n, list) else [n])):
        raise CheckpointError(f"a MultiBinary is described as {shown(tree)}: take another checkpoint")
    return spaces.MultiBinary(n)


def _dict(tree: Tree) -> gym.Space[Any]:
    parts = fields(tree, "a Dict", "kind", "spaces")["spaces"]
    if not isinstance(parts, dict):
        raise CheckpointError(f"a Dict is described as {shown(tree)}: take another checkpoint")
    # Gymnasium sorts the keys of a plain dictionary; the order is the space's own already.
    return spaces.Dict(OrderedDict((name, space_from_tree(part)) for name, part in parts.items()))


_MAKERS: dict[str, Callable[[Tree], gym.Space[Any]]] = {
    "Box": _box,
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Dict": _dict,
}
