"""Draws from a finite distribution, on the device."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Choice:
    """Draws 0, 1, … with given probabilities from uniform numbers; the same on every device, no rounding apart.

    Args:
        probabilities: Of each number, summing to 1.
        device: Where to draw.
    """

    def __init__(self, probabilities: Float[np.ndarray, " k"], device: torch.device) -> None:
        # Without the last edge, no uniform number is beyond the last choice.
        self._edges = torch.from_numpy(np.cumsum(probabilities)[:-1].copy()).to(device)

    def draw(self, uniform: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """One draw for each number in [0, 1)."""
        return torch.bucketize(uniform, self._edges, right=True)
