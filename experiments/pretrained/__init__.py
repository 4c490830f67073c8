"""Trained agents that come with the package: `expire-span evaluate --pretrained memory-s13`.

Each is a folder such as a run's, of its settings and its model alone.
"""

from pathlib import Path

from experiments.errors import UserError, near_misses

_HERE = Path(__file__).parent
CONFIG = "config.json"
"""As in a run folder."""


def names() -> list[str]:
    """The names of all trained agents, in alphabetical order."""
    return sorted(path.parent.name for path in _HERE.glob(f"*/{CONFIG}"))


def folder(name: str) -> Path:
    """The folder of the trained agent called `name`, as `runs.load` reads it.

    Raises:
        UserError: if there is none, with the near misses.
    """
    if name not in names():
        raise UserError(f"--pretrained {name}: no such agent: {near_misses(name, names())}")
    return _HERE / name


def chosen(run_dir: str | None, name: str | None) -> Path:
    """The folder of the agent that a command line names.

    Args:
        run_dir: DIR.
        name: `--pretrained`.

    Raises:
        UserError: if it names none, or two, or one that isn't there.
    """
    if (run_dir is None) == (name is None):
        given = "both are given" if name is not None else "neither is given"
        raise UserError(f"an agent is a run's DIR or --pretrained NAME ({', '.join(names())}): {given}")
    return Path(run_dir) if run_dir is not None else folder(str(name))
