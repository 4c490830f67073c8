"""The result of a run as a small file that is kept with the sources."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import runs
from experiments.errors import UserError, one_line

FORMAT_VERSION = 1
"""Of the file. Raise it when a file written before can no longer be read."""


@dataclass(frozen=True)
class RunRecord:
    """All that tables and pictures are made of."""

    task: str
    agent: str
    seed: int
    settings: dict[str, Any]
    """By name, as `Cell.settings` has them."""
    git: dict[str, Any] | None
    """Commit of the checkout that the run began with, and whether it was changed."""
    versions: dict[str, str]
    device_name: str
    steps: int
    """Environment steps of the training."""
    seconds: float
    """Its time on the device, all of its sessions together, what was done twice after a kill included."""
    steps_per_second: float
    peak_memory_mib: float | None
    """At most in use while it trained: on CUDA what PyTorch had allocated, on the CPU what the process had resident."""
    goal_steps: int | None
    """Steps after which the objective in training first reached the task's goal; None if it never did."""
    goal_seconds: float | None
    slots: int | None
    """Of a layer; None of a core without them."""
    curve: dict[str, list[float | None]]
    """At most 100 points of the training: steps, seconds, and what was logged then."""
    evaluation: dict[str, Any]
    """What `evaluate --json` says of the episodes and levels, with the number of successes; but in `correct_turn_rate`
    turns missing of the task's `turns` count as wrong."""


def write_record(path: Path, record: RunRecord) -> None:
    """Writes a result, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(record)}
    with runs.written_whole(path) as partial:
        # A curve on a line of its own each: small, and a change shows where it is.
        lines = (f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in content.items())
        partial.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def read_record(path: Path) -> RunRecord:
    """The result in a file.

    Raises:
        UserError: if it isn't one, or one of another format.
    """
    try:
        content = json.loads(path.read_bytes())
        version = content.pop("format_version")
        if version != FORMAT_VERSION:
            raise UserError(f"{path} is of format {version}, this version reads {FORMAT_VERSION}: remove it")
        content.pop("settings_hash", None)  # of before: the settings themselves are what is compared
        return RunRecord(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} isn't a result ({one_line(error)}): remove it, and run again") from None
