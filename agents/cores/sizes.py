"""Sizes that nothing can have."""

from numbers import Integral
from typing import Any

LARGEST = 10**12
"""No machine has the memory for more, and PyTorch counts in 64 bits."""
MOST_LAYERS = 1000
"""Each is made one after the other."""
MOST_AGES = 1 << 16
"""Of `seq_len`: a table of so many positions is made, for which a file has no weights."""


def check_size(name: str, size: Any) -> None:
    """Raises a `ValueError` for a whole number above `LARGEST`, or above that of its name.

    What else may be wrong is left to who uses it.
    """
    most = {"depth": MOST_LAYERS, "seq_len": MOST_AGES}.get(name, LARGEST)
    if isinstance(size, Integral) and int(size) > most:
        raise ValueError(f"{name}={size} must be at most {most}")


def check_whole(name: str, size: Any) -> None:
    """Raises a `ValueError` for what is no whole number, or below 1, or above any machine's memory."""
    if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
        raise ValueError(f"{name}={size!r} must be a whole number, at least 1")
    check_size(name, size)
