"""Sizes that nothing can have."""

from numbers import Integral
from typing import Any

LARGEST = 10**12
"""No machine has the memory for more, and PyTorch counts in 64 bits."""


def check_size(name: str, size: Any) -> None:
    """Raises a `ValueError` for a whole number above `LARGEST`; what else may be wrong is left to who uses it."""
    if isinstance(size, Integral) and int(size) > LARGEST:
        raise ValueError(f"{name}={size} must be at most {LARGEST}")
