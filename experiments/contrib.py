"""sb3-contrib's `RecurrentPPO`, to compare with: an extra, by name, so that types can be checked without it."""

import importlib
import importlib.util
from typing import Any


def missing() -> str | None:
    """That it isn't installed, and what would help, on one line; None where it is."""
    if importlib.util.find_spec("sb3_contrib") is None:
        return "sb3-contrib isn't installed: pip install 'expire-span[bench]'"
    return None


def recurrent_ppo() -> Any:
    """The class."""
    return importlib.import_module("sb3_contrib").RecurrentPPO
