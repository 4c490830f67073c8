"""Arguments as trees: plain values as they are; classes by name; tuples, and dictionaries of any keys, spelt out."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from agents.checkpoint.classes import class_from_tree, class_to_tree, qualified_name
from agents.checkpoint.errors import CheckpointError, shown
from agents.checkpoint.tree import Tree, fields

_PLAIN = (str, int, float, bool, type(None), np.ndarray, torch.Tensor)


def argument_to_tree(value: Any) -> Tree:
    """Describes an argument; of a function, or another object that a file can't hold, it says only that it was one."""
    if isinstance(value, torch.nn.Module) or (callable(value) and not isinstance(value, type)):
        named = value if hasattr(value, "__qualname__") else type(value)
        return {"left_out": f"{named.__module__}.{named.__qualname__}"}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, type):
        return {"class_of": class_to_tree(value)}
    if isinstance(value, list):
        return [argument_to_tree(part) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [argument_to_tree(part) for part in value]}
    if isinstance(value, Mapping):
        pairs = [[argument_to_tree(key), argument_to_tree(part)] for key, part in value.items()]
        return {"pairs": pairs}
    return {"left_out": qualified_name(type(value))}


def argument_from_tree(tree: Tree, argument: str, classes: Mapping[str, type[Any]] | None = None) -> Any:
    """The argument that was described.

    Args:
        tree: of `argument_to_tree`.
        argument: its name.
        classes: as `class_from_tree`.

    Raises:
        CheckpointError: if it holds what a file can't, or the description is damaged.
    """
    if isinstance(tree, list):
        return [argument_from_tree(part, argument, classes) for part in tree]
    match tree:
        case {"class_of": described}:
            return class_from_tree(described, classes)
        case {"tuple": list(parts)}:
            return tuple(argument_from_tree(part, argument, classes) for part in parts)
        case {"pairs": list(pairs)}:
            return dict(_pair(pair, argument, classes) for pair in pairs)
        case {"left_out": name}:
            raise CheckpointError(
                f"{argument} held {shown(name)}, which a checkpoint can't hold: pass custom_objects="
                f"{{{argument!r}: …}} with the whole of it"
            )
        case dict():
            fields(tree, argument, "pairs")
    return tree


def _pair(pair: Tree, argument: str, classes: Mapping[str, type[Any]] | None) -> tuple[Any, Any]:
    if isinstance(pair, list) and len(pair) == 2:
        key, value = (argument_from_tree(part, argument, classes) for part in pair)
        # A tuple is one of lists, maybe, and no key then.
        with suppress(TypeError):
            hash(key)
            return key, value
    raise CheckpointError(f"{argument} is described as {shown(pair)}: take another checkpoint")
