"""Classes by short names, so that a file names none to import."""

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn, optim

from agents.checkpoint.errors import CheckpointError, shown
from agents.checkpoint.tree import Tree, fields

_registered: dict[str, type[Any]] = {}


def register(name: str, cls: type[Any]) -> None:
    """Gives a class the name under which checkpoints are to know it.

    Args:
        name: the same wherever the checkpoint is read.
        cls: a class; one that was defined anew at the same place takes the old one's name over.

    Raises:
        ValueError: if the name is another class's.
    """
    known = _registered.get(name)
    if known is not None and qualified_name(known) != qualified_name(cls):
        raise ValueError(f"{name!r} is registered for {qualified_name(known)} already; give another name")
    _registered[name] = cls


def qualified_name(cls: type[Any]) -> str:
    """`module.Class`."""
    return f"{cls.__module__}.{cls.__qualname__}"


def class_to_tree(cls: type[Any]) -> Tree:
    """Describes a class: by its registered name, or by its qualified name, which a reader must then be given."""
    name = next((name for name, known in _registered.items() if known is cls), None)
    return {"unregistered": qualified_name(cls)} if name is None else {"class": name}


def class_from_tree(tree: Tree, classes: Mapping[str, type[Any]] | None = None) -> type[Any]:
    """The class that was described. Nothing is imported.

    Args:
        tree: of `class_to_tree`.
        classes: by the name in the tree, those that aren't registered here.

    Raises:
        CheckpointError: if neither has the name, saying what to pass.
    """
    kind = "unregistered" if isinstance(tree, dict) and "unregistered" in tree else "class"
    name = fields(tree, "a class", kind)[kind]
    if not isinstance(name, str):
        raise CheckpointError(f"a class is described by {shown(name)}, not by a name: take another checkpoint")
    if classes is not None and name in classes:
        return classes[name]
    if kind == "class" and name in _registered:
        return _registered[name]
    # One that had no name when the checkpoint was written may have got one since.
    for known in _registered.values():
        if kind == "unregistered" and qualified_name(known) == name:
            return known
    raise CheckpointError(
        f"the class {shown(name)} isn't known here: pass classes={{{shown(name)}: the class}}, or register it with "
        f"agents.checkpoint.register before it is saved"
    )


for _cls in (
    *(nn.Tanh, nn.ReLU, nn.ELU, nn.GELU, nn.SiLU, nn.LeakyReLU),
    *(optim.Adam, optim.AdamW, optim.RMSprop, optim.SGD),
    *(FlattenExtractor, NatureCNN, CombinedExtractor),
):
    register(_cls.__name__, _cls)
