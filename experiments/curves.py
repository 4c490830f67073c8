"""`expire-span curves`."""

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.config import CurvesConfig
from experiments.errors import UserError, user_errors
from experiments.progress_log import FILE, Row, read_rows
from experiments.runs import read_config

PANELS = (
    ("rollout/success_rate", "success in training"),
    ("memory/span_mean", "mean span, steps"),
    ("memory/live_memories", "live memories a step and layer"),
    ("train/span_coef", "price of memory: weight of the mean span"),
)
"""Columns of the log, and what they are."""

UNITS = ((1e6, "million environment steps"), (1e3, "thousand environment steps"), (1.0, "environment steps"))

Series = tuple[list[float], list[float]]


def read_progress(run_dir: Path) -> list[Row]:
    """The rows that the run logged, of all its continuations, in order.

    Raises:
        UserError: for a folder that isn't a run's, one that has logged nothing yet, or a log that can't be read.
    """
    read_config(run_dir)
    rows = read_rows(run_dir, [column for column, _ in PANELS])
    if not rows:
        raise UserError(f"{run_dir} has no {FILE} with a row in it: its training has logged nothing yet")
    return rows


def series(rows: list[Row], column: str) -> Series:
    """Steps and values of a column, where it has one."""
    pairs = [(row.steps, row.values[column]) for row in rows if column in row.values]
    return [steps for steps, _ in pairs], [value for _, value in pairs]


def unit_of(most: float) -> tuple[float, str]:
    """The unit in which so many steps are a number that fits an axis, and its name there."""
    return next((unit for unit in UNITS if most >= unit[0]), UNITS[-1])


def labels(run_dirs: Sequence[str]) -> list[str]:
    """What each run is called in the picture: its folder's name, or all of its path where two have the same."""
    names = [Path(os.path.abspath(run_dir)).name for run_dir in run_dirs]  # links keep their names
    names = [run_dir if names.count(name) > 1 else name for run_dir, name in zip(run_dirs, names, strict=True)]
    # To Matplotlib two dollars enclose a formula, and what begins with an underscore isn't to be shown.
    return [(" " if name.startswith("_") else "") + name.replace("$", r"\$") for name in names]


def curves(config: CurvesConfig) -> int:
    """Runs `expire-span curves`; writes the picture and returns 0.

    Raises:
        UserError: for a folder that isn't a run's, or a file that can't be written.
    """
    output = Path(config.output)
    if output.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--output {output}: the name must end in .png, .svg or .pdf")
    if not config.run_dirs:
        raise UserError("curves needs the folder of a run, or several")
    progress = {run_dir: read_progress(Path(run_dir)) for run_dir in config.run_dirs}
    names = labels(list(progress))
    unit, unit_name = unit_of(max(row.steps for rows in progress.values() for row in rows))
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS, strict=True):
        for label, rows in zip(names, progress.values(), strict=True):
            steps, values = series(rows, column)
            # A run of a single rollout has no line.
            marker = "o" if len(steps) == 1 else ""
            axes.plot([step / unit for step in steps], values, marker=marker, label=label, linewidth=1.2)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    for axes in figure.axes[2:]:
        axes.set_xlabel(unit_name)
    figure.axes[0].legend(fontsize=8)
    with user_errors(OSError, prefix=f"--output {output} can't be written: "):
        figure.savefig(output, dpi=110)
    print(f"{output}: {', '.join(config.run_dirs)}")
    return 0
