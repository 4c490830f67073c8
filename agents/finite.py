"""Numbers that aren't finite are refused where they come in: one of them would be in every weight an update later."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.loss import LossParts


def check_finite(numbers: Any, what: str, step: int, first: int = 0, of: str = "the rollout") -> None:
    """Looks at what environments gave; whole numbers are always finite.

    Args:
        numbers: an array, environments in dimension 0, or a dictionary of such.
        what: they are, for errors.
        step: that they came with, for errors; 0 is what it begins with.
        first: the number of the first environment, for errors.
        of: what the step is of, for errors.

    Raises:
        FloatingPointError: for NaN or an infinity, naming environment, step and, of a dictionary, the key.
    """
    if isinstance(numbers, dict):
        for key, part in numbers.items():
            check_finite(part, f"{what} {key!r}", step, first, of)
    elif numbers.dtype.kind == "f" and not (finite := np.isfinite(numbers)).all():
        environment = int(np.argwhere(~finite)[0, 0])
        number = numbers[environment][~finite[environment]].flat[0]
        raise FloatingPointError(
            f"environment {first + environment} gave {number} as {what} at step {step} of {of}; rewards and "
            f"observations must be finite"
        )


def check_update(logs: Sequence[LossParts], weights: Iterable[Tensor], n_updates: int) -> dict[str, float]:
    """Looks at an update when it is done; waits for the device, once.

    Args:
        logs: the losses of its minibatches.
        weights: as it left them.
        n_updates: the passes over rollouts so far, for errors.

    Returns:
        The means of the losses by name.

    Raises:
        FloatingPointError: if one of them, or a weight, isn't finite, saying what to try.
    """
    means = torch.stack([torch.stack(parts) for parts in logs]).mean(0)
    norm = torch.nn.utils.get_total_norm([weight.detach() for weight in weights])
    *losses, weights_norm = torch.cat((means, norm[None].to(means))).tolist()
    found = dict(zip(LossParts._fields, losses, strict=True))
    wrong = [f"{name} {number}" for name, number in found.items() if not math.isfinite(number)]
    if not math.isfinite(weights_norm):
        wrong.append(f"norm of the weights {weights_norm}")
    if wrong:
        raise FloatingPointError(
            f"update {n_updates} isn't finite ({', '.join(wrong)}): try a smaller learning_rate, a smaller "
            f"max_grad_norm, or rewards of a smaller scale (VecNormalize)"
        )
    return found
