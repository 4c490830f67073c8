"""What reading any tree needs: that its parts fit together, and errors that say where they don't."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, optim

from agents.checkpoint import CheckpointError, Tree
from agents.checkpoint.errors import shown
from agents.cores.sizes import MOST_AGES
from agents.unvalidated import unvalidated


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
    """Raises a `CheckpointError` for a file that holds something else."""
    if kind != wanted:
        raise CheckpointError(f"this is {shown(kind)}, not an {wanted}: take another file")


def check_weights(
    policy_class: type[ActorCriticPolicy],
    observations: spaces.Space[Any],
    actions: spaces.Space[Any],
    policy_kwargs: dict[str, Any],
    use_sde: bool,
    weights: Tree,
    classes: Mapping[str, type[Any]] | None,
) -> None:
    """Before any memory is asked for: a policy of these arguments must have just these weights."""
    weights = checked_weights(weights)
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
    needed = skeleton.state_dict()
    check_shapes(weights, needed, weights.keys() | needed.keys(), "the arguments", "they ask for")


def checked_weights(weights: Tree) -> dict[str, Tensor]:
    """The weights. Raises a `CheckpointError` if they are anything else."""
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError("weights aren't tensors by name: take another checkpoint")
    return weights


def check_shapes(
    found: Mapping[str, Tensor], needed: Mapping[str, Tensor], names: Iterable[str], what: str, needs: str
) -> None:
    """Raises a `CheckpointError` for the first of these weights that isn't of the shape needed, or only one has; `what`
    and `needs` say whose shapes those are."""
    for name in sorted(names):
        has, wants = (tuple(kept[name].shape) if name in kept else "no such weight" for kept in (found, needed))
        if has != wants:
            raise CheckpointError(
                f"the weight {shown(name)} doesn't fit {what}: by its shape the file has {has}, {needs} {wants}: take "
                f"another checkpoint"
            )


def _length(nested: Any) -> int:
    """How many values nested lists and dictionaries hold."""
    if isinstance(nested, dict):
        return _length(list(nested.values()))
    return sum(map(_length, nested)) if isinstance(nested, list) else 1
