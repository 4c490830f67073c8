"""A policy as a tree for a checkpoint, and back; and what reading any of our trees needs."""

import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import torch
from gymnasium import spaces
from torch import Tensor, optim

from agents import checkpoint
from agents.checkpoint import CheckpointError, Tree, fields
from agents.checkpoint.arguments import argument_from_tree, argument_to_tree
from agents.checkpoint.errors import shown
from agents.cores.sizes import MOST_AGES
from agents.unvalidated import unvalidated
from expire_span.version import __version__

if TYPE_CHECKING:
    from agents.policies import ExpireSpanActorCriticPolicy
else:
    # The import would go in a circle.
    ExpireSpanActorCriticPolicy = Any

Policy = TypeVar("Policy", bound=ExpireSpanActorCriticPolicy)

Place = str | os.PathLike[str] | io.BufferedIOBase | IO[bytes]
"""A path, or an open binary file."""
SUFFIX = ".safetensors"
KIND = "expire-span policy"
"""What the file says it holds."""


def save_tree(path: Place, tree: Tree) -> None:
    """Writes a checkpoint; a path without a suffix gets `.safetensors`."""
    if not isinstance(path, str | os.PathLike):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model" + SUFFIX)
            checkpoint.write(file, tree)
            path.write(file.read_bytes())
        return
    path = Path(path)
    checkpoint.write(path if path.suffix else path.with_name(path.name + SUFFIX), tree)


def load_tree(path: Place) -> Tree:
    """Reads a checkpoint; where there is no such file, the one of that name with another suffix (see `found`)."""
    if not isinstance(path, str | os.PathLike):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model" + SUFFIX)
            file.write_bytes(path.read())
            return checkpoint.read(file)
    return checkpoint.read(found(Path(path)))


def found(path: Path) -> Path:
    """The file, or the one of the same name that ends in `.safetensors`, `.zip` or neither, if there is exactly one.

    Callbacks of Stable-Baselines3's name their files themselves, some with `.zip` and some without a suffix. A name
    without one is `.safetensors` first, as `save_tree` makes it.

    Raises:
        CheckpointError: if there is none of them, or more than one.
    """
    if os.path.isfile(path) or not path.name:
        return path
    bare = path.with_suffix("") if path.suffix in (SUFFIX, ".zip") else path
    others = [bare.with_name(bare.name + suffix) for suffix in (SUFFIX, ".zip", "")]
    others.remove(path)
    there = [other for other in others if os.path.isfile(other)]
    if len(there) == 1 or (there and path == bare):
        return there[0]
    if there:
        raise CheckpointError(f"{path} can't be read: it isn't there, {there[0]} and {there[1]} are: name one of them")
    # Where something else than a file lies, or nobody may look, reading it says so.
    with suppress(OSError):
        if not path.exists():
            raise CheckpointError(
                f"{path} can't be read: No such file or directory, nor {others[0].name} or "
                f"{others[1].name}: look at the path"
            )
    return path


def policy_to_tree(policy: ExpireSpanActorCriticPolicy) -> Tree:
    """All that makes a policy."""
    arguments = policy._get_constructor_parameters()
    return {
        "kind": KIND,
        "version": __version__,
        "observation_space": checkpoint.space_to_tree(arguments.pop("observation_space")),
        "action_space": checkpoint.space_to_tree(arguments.pop("action_space")),
        "arguments": argument_to_tree({name: value for name, value in arguments.items() if name != "lr_schedule"}),
        "weights": dict(policy.state_dict()),
    }


def policy_from_tree(cls: type[Policy], tree: Tree, classes: Mapping[str, type[Any]] | None = None) -> Policy:
    """The policy that was described, on the CPU.

    Raises:
        CheckpointError: if the tree isn't a policy's, or doesn't fit together.
    """
    with fitting_together(), quiet():
        part = fields(tree, "a policy", "kind", "version", "observation_space", "action_space", "arguments", "weights")
        check_kind(part["kind"], KIND)
        observations = checkpoint.space_from_tree(part["observation_space"])
        actions = checkpoint.space_from_tree(part["action_space"])
        arguments = argument_from_tree(part["arguments"], "arguments", classes)
        use_sde = bool(arguments.pop("use_sde", False))
        check_weights(cls, observations, actions, arguments, use_sde, part["weights"], classes)
        policy = cls(observations, actions, lambda _: 0.0, use_sde=use_sde, **arguments)
        policy.load_state_dict(part["weights"])
    return policy


@contextmanager
def fitting_together() -> Iterator[None]:
    """A file that is whole but doesn't fit together makes whatever error: here it becomes the documented one."""
    try:
        yield
    except CheckpointError:
        raise
    except (
        *(ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError, AssertionError),
        *(ArithmeticError, MemoryError, NotImplementedError),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"the checkpoint doesn't fit together ({shown(reason, 300)}): take another") from error


@contextmanager
def quiet() -> Iterator[None]:
    """How its sizes fit was said when the model was made."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="slots=|initial_span=|batch_size=|n_steps=|forget_at_success=")
        yield


def check_kind(kind: Tree, wanted: str) -> None:
    if kind != wanted:
        raise CheckpointError(f"this is {shown(kind)}, not an {wanted}: take another file")


def check_weights(
    policy_class: type[ExpireSpanActorCriticPolicy],
    observations: spaces.Space[Any],
    actions: spaces.Space[Any],
    policy_kwargs: dict[str, Any],
    use_sde: bool,
    weights: Tree,
    classes: Mapping[str, type[Any]] | None,
) -> None:
    """Before any memory is asked for: a policy of these arguments must have just these weights."""
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError("weights aren't tensors by name: take another checkpoint")
    if not isinstance(policy_kwargs, dict) or not all(isinstance(name, str) for name in policy_kwargs):
        raise CheckpointError("policy_kwargs aren't arguments by name: take another checkpoint")
    depth = policy_kwargs.get("depth", 1)
    if not isinstance(depth, int) or depth > len(weights):
        raise CheckpointError(f"depth={shown(depth)} is more layers than there are weights: take another checkpoint")
    widths, seq_len = _length(policy_kwargs.get("net_arch")), policy_kwargs.get("seq_len", 1)
    if widths > len(weights) or not isinstance(seq_len, int) or seq_len > MOST_AGES:
        raise CheckpointError("policy_kwargs ask for more than there are weights for: take another checkpoint")
    shape_only = policy_kwargs | {"optimizer_class": optim.SGD, "optimizer_kwargs": {}}
    try:
        # gSDE draws its noise here, whose deviation has no value that could be checked.
        with torch.device("meta"), quiet(), unvalidated():
            skeleton = policy_class(observations, actions, lambda _: 0.0, use_sde=use_sde, **shape_only)
    except Exception:
        if classes:
            return  # The caller's own classes may need real tensors; what is wrong shows later.
        raise
    needed = {name: tuple(weight.shape) for name, weight in skeleton.state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items() if isinstance(weight, Tensor)}
    if needed != found:
        wrong = sorted(name for name in needed.keys() | found.keys() if needed.get(name) != found.get(name))
        has, would = (shapes.get(wrong[0], "no such weight") for shapes in (found, needed))
        raise CheckpointError(
            f"the weight {shown(wrong[0])} doesn't fit the arguments: by its shape the file has {has}, they ask for "
            f"{would}: take another checkpoint"
        )


def _length(nested: Any) -> int:
    """How many values nested lists and dictionaries hold."""
    if isinstance(nested, dict):
        return _length(list(nested.values()))
    return sum(map(_length, nested)) if isinstance(nested, list) else 1
