"""Sizes that nothing can have."""

from numbers import Integral
from typing import Any

LARGEST = 10**12
"""No machine has the memory for more, and PyTorch counts in 64 bits."""
MOST_LAYERS = 1000
"""Each is made one after the other."""


def check_size(name: str, size: Any) -> None:
    """Raises a `ValueError` for a whole number above `LARGEST`, or for more layers than `MOST_LAYERS`.

    What else may be wrong is left to who uses it.
    """
    most = MOST_LAYERS if name == "depth" else LARGEST
    if isinstance(size, Integral) and int(size) > most:
        raise ValueError(f"{name}={size} must be at most {most}")
