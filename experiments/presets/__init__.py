"""Settings known to work, one small module each: `memory_s9.py` is `--preset memory-s9`."""

import importlib
import pkgutil
from dataclasses import dataclass

from experiments.config import TrainConfig
from experiments.errors import UserError, near_misses


@dataclass(frozen=True)
class Preset:
    """Settings for one task, and why somebody would want them."""

    title: str
    """What it trains, in a few words."""
    demands: str
    """What the task demands of a memory, in one sentence."""
    config: TrainConfig
    """The settings; what the command line says overrides them."""


def names() -> list[str]:
    """The names of all presets, in alphabetical order."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        UserError: if there is none, with the near misses.
    """
    if name not in names():
        raise UserError(f"unknown preset {name!r}: {near_misses(name, names())}")
    preset = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").PRESET
    assert isinstance(preset, Preset), name
    return preset
