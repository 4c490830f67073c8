"""What a training has logged: `progress.csv`, and a file more for each time that it was gone on with."""

import csv
import math
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from experiments.errors import UserError

FILE = "progress.csv"
STEPS, SECONDS = "time/total_timesteps", "time/time_elapsed"


class Row(NamedTuple):
    """A line of the log."""

    steps: int
    seconds: float
    """Of all sessions so far, what was done twice included."""
    values: dict[str, float]
    """By column, where it has a number."""


def read_rows(run_dir: Path, columns: Collection[str] = ()) -> list[Row]:
    """The rows of all sessions in order, without those that a killed one logged beyond the checkpoint from which the
    next went on: what they tell of was done again.

    Args:
        run_dir: the run folder.
        columns: whose values are wanted.

    Raises:
        UserError: for a log that can't be read, or is damaged.
    """
    rows: list[Row] = []
    for path in (run_dir / FILE, *sorted(run_dir.glob("progress-*.csv"))):
        session = _session(path, columns, rows[-1].seconds if rows else 0.0) if path.is_file() else []
        again = session[0].steps if session else math.inf
        rows = [row for row in rows if row.steps < again] + session
    return rows


def _session(path: Path, columns: Collection[str], before: float) -> list[Row]:
    rows: list[Row] = []
    try:
        with path.open(newline="") as file:
            # The last line may be half written, by a process that was killed at it or is at it.
            for row in csv.DictReader(line for line in file if line.endswith("\n")):
                seconds = before + float(row.get(SECONDS) or 0)
                values = {name: float(row[name]) for name in columns if row.get(name)}
                rows.append(Row(int(row[STEPS]), seconds, values))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    # TypeError: the row is too short to have steps.
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged: its row {len(rows) + 1} isn't one that a training logs: delete it, or the whole file"
        ) from error
    return rows
