"""What a batched environment knows of its task: tables, made once from the steps and views of the Python one."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

N_ACTIONS = 3
NONE, FAILURE, SUCCESS = range(3)
"""Outcomes of a step."""


class Tables(NamedTuple):
    """Transitions and views by code. A code stands for all places in which the same is seen and happens.

    `codes`: number of codes; `fields`: integers that make a place; `v`: side of the view.
    """

    deltas: Int[Tensor, "fields codes*3"]
    """What the action adds to the place, at `code * 3 + action`."""
    outcomes: Int[Tensor, " codes*3"]
    """`NONE`, `FAILURE` or `SUCCESS`, at `code * 3 + action`."""
    view_ids: Int[Tensor, " codes"]
    """The row of `views` that is seen."""
    views: UInt8[Tensor, "distinct v v 3"]
    """Every distinct observation, once."""

    def to(self, device: torch.device) -> "Tables":
        """The same tables on a device."""
        return Tables(*(table.to(device) for table in self))


class ViewCollector:
    """Gives each distinct view a number.

    Args:
        view_size: Side of the view.
    """

    def __init__(self, view_size: int) -> None:
        self._view_size = view_size
        self._ids: dict[bytes, int] = {}

    def add(self, codes: UInt8[np.ndarray, "v v 3"]) -> int:
        """The number of this view."""
        return self._ids.setdefault(codes.tobytes(), len(self._ids))

    def table(self) -> UInt8[Tensor, "distinct v v 3"]:
        """The views in the order of their numbers."""
        flat = np.frombuffer(b"".join(self._ids), np.uint8).copy()
        return torch.from_numpy(flat).view(-1, self._view_size, self._view_size, 3)
