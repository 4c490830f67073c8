"""What a training logged, with the device time it took, and few points of it."""

from pathlib import Path
from typing import NamedTuple

from experiments.progress_log import read_rows
from experiments.results import cue_spans

COLUMNS = {
    "success_rate": "rollout/success_rate",
    "mean_return": "rollout/ep_rew_mean",
    "mean_length": "rollout/ep_len_mean",
    "live_memories": "memory/live_memories",
    "span_q10": "memory/span_q10",
    "span_q50": "memory/span_q50",
    "span_q90": "memory/span_q90",
    "span_of_cue": cue_spans.CUE,
    "span_of_others": cue_spans.OTHERS,
}
"""What is kept of a log, and its columns."""
POINTS = 100
"""Of a kept curve, at most."""
_EPISODES = "rollout/episodes"


class Point(NamedTuple):
    """A line of the log."""

    steps: int
    seconds: float
    """Of all sessions so far, what was done twice included."""
    values: dict[str, float | None]
    """By the names of `COLUMNS`."""
    episodes: int | None = None
    """That success rate and mean return are of; None in a log that doesn't say."""


def read_points(run_dir: Path) -> list[Point]:
    """The log of a run, of all its sessions. Empty if there is none.

    Raises:
        UserError: if it can't be read, or is damaged.
    """
    return [
        Point(
            row.steps,
            row.seconds,
            {name: row.values.get(column) for name, column in COLUMNS.items()},
            int(row.values[_EPISODES]) if _EPISODES in row.values else None,
        )
        for row in read_rows(run_dir, (*COLUMNS.values(), _EPISODES))
    ]


def thinned(points: list[Point], most: int = POINTS) -> dict[str, list[float | None]]:
    """At most so many points, evenly spaced, the first and the last among them, as lists by name."""
    last = len(points) - 1
    kept = points if last < most else [points[round(i * last / (most - 1))] for i in range(most)]
    values = {name: [_rounded(point.values[name]) for point in kept] for name in COLUMNS}
    columns: dict[str, list[float | None]] = {
        "steps": [point.steps for point in kept],
        "seconds": [round(point.seconds, 1) for point in kept],
        **values,
    }
    return {name: column for name, column in columns.items() if any(value is not None for value in column)}


def _rounded(value: float | None) -> float | None:
    """Four digits."""
    return None if value is None else float(f"{value:.4g}")


def first_at(points: list[Point], name: str, goal: float, episodes: int) -> Point | None:
    """The first point at which a value has reached a goal; None if there is none.

    One of fewer `episodes` doesn't count: where success ends an episode, those that end first are the successes.
    """
    counted = (point for point in points if point.episodes is None or point.episodes >= episodes)
    return next((point for point in counted if (value := point.values[name]) is not None and value >= goal), None)
