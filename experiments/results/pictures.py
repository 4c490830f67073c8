"""The picture of a task: learning curves with intervals over seeds, success against live memories, and what became of
the expiring agent's spans; and one of several tasks' live memories."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import ScalarFormatter, SymmetricalLogLocator
from matplotlib.transforms import Bbox

from experiments.results import agents
from experiments.results.record import RunRecord
from experiments.results.statistics import bootstrap_interval, interquartile_mean
from experiments.results.task import ResultsTask
from experiments.runs import written_whole

_RESAMPLES = 1000
"""Of a curve's interval, at each point."""
_LINE = 8.0
"""Height of a point's number, in points."""
_AT_THE_AXIS = 0.1
"""Scores below which a point stands right above the numbers of the axis."""
_A_ROW = 7
"""Entries of a legend that fit side by side."""
_SEEDS_OF_A_BAND = 5
"""An interval of fewer is from the worst to the best, and hides all other lines."""


def draw(path: Path, task: ResultsTask, results: Mapping[str, Sequence[RunRecord]]) -> None:
    """Draws a task.

    Args:
        path: of the picture; its folder is made.
        task: whose results they are.
        results: of each agent.
    """
    figure = Figure(figsize=(15, 4.4), layout=_layout())
    curves, memories, spans = figure.subplots(1, 3)
    _draw_curves(curves, task, results)
    _draw_memories(memories, task, results)
    memories.set(ylabel=f"{_said(task.measure)} of the evaluation")
    _draw_spans(spans, results.get("expire-span", ()))
    for axes in (curves, memories, spans):
        axes.grid(alpha=0.3)
    if spans.get_legend_handles_labels()[0]:
        spans.legend(fontsize=8)
    _tell_agents(figure, results)
    _save(figure, path)


def draw_memories_of(path: Path, tasks: Sequence[tuple[ResultsTask, Mapping[str, Sequence[RunRecord]]]]) -> None:
    """Draws success against live memories of several tasks.

    Args:
        path: of the picture; its folder is made.
        tasks: each task with the results of its agents; at least one.
    """
    figure = Figure(figsize=(max(3.75 * len(tasks), 7.5), 4), layout=_layout())
    pictures = np.ravel(figure.subplots(1, len(tasks)))
    for task, axes in zip(tasks, pictures, strict=True):
        _draw_memories(axes, *task)
        axes.set(title=task[0].title, ylabel=_said(task[0].measure))
        axes.grid(alpha=0.3)
    _tell_agents(figure, (agent for _, results in tasks for agent in results))
    _save(figure, path)


def _tell_agents(figure: Figure, names: Iterable[str]) -> None:
    """One legend below all pictures: each agent's point, and one for all of a sweep."""
    told: dict[str, Line2D] = {}
    for name in sorted(set(names), key=agents.NAMES.index):
        style = Style.of(name)
        told.setdefault(style.label, Line2D([], [], label=style.label, linestyle="", **style.point()))
    rows = max(1, math.ceil(len(told) / _A_ROW))
    figure.legend(
        handles=[*told.values()],
        loc="outside lower center",
        ncols=math.ceil(len(told) / rows),
        fontsize=9,
    )


def _layout() -> ConstrainedLayoutEngine:
    """With room at the right of each picture, for what has no place from left to right."""
    return ConstrainedLayoutEngine(wspace=0.07)


def set_apart(axes: Axes) -> None:
    """Moves numbers that lie on others away from their points, a line at a time, once all has its place."""
    placed: list[Bbox] = []
    for number in sorted(axes.texts, key=lambda text: -text.get_window_extent().y0):
        assert isinstance(number, Annotation)
        while any(number.get_window_extent().padded(2).overlaps(other) for other in placed):
            x, y = number.xyann
            number.xyann = x, y + math.copysign(_LINE, y)
        placed.append(number.get_window_extent())


def _save(figure: Figure, path: Path) -> None:
    figure.draw_without_rendering()
    for axes in figure.axes:
        set_apart(axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        # Without the version of the library, the same results give the same file.
        figure.savefig(partial, dpi=100, metadata={"Software": None})


_LOOKS = {
    "expire-span": ("C0", "o"),
    "expire-span-paper": ("C9", "X"),
    "transformer-xl": ("C1", "s"),
    "lstm": ("C2", "D"),
    agents.PLAIN: ("yellowgreen", "d"),
    "none": ("0.45", "^"),
    "recurrent-ppo": ("C4", "v"),
}
"""Colour and shape."""
_SWEPT = {
    "expire-span": "other budgets",
    "expire-span-paper": "prices",
    "transformer-xl": "other numbers of slots",
}
"""What differs in a sweep: which is which is said at the points."""


class Style(NamedTuple):
    """How an agent is drawn, the same in all pictures."""

    label: str
    color: str
    marker: str
    number: str | None = None
    """What its sweep numbers it by; None for an agent of no sweep."""

    @classmethod
    def of(cls, agent: str) -> "Style":
        if agent in _LOOKS:
            return cls(agent, *_LOOKS[agent])
        family = next(family for family, sweep in agents.SWEEPS.items() if agent in sweep)
        return cls(f"{family}, {_SWEPT[family]}", *_LOOKS[family], agent.removeprefix(f"{family}-"))

    def point(self) -> dict[str, Any]:
        """Of a seed; those of a sweep are rings, which hide nothing that they lie on."""
        filled = {"alpha": 0.8} if self.number is None else {"markersize": 9, "fillstyle": "none"}
        return {"color": self.color, "marker": self.marker, **filled}


def _draw_curves(axes: Axes, task: ResultsTask, results: Mapping[str, Sequence[RunRecord]]) -> None:
    """Learning curves: means with intervals, or with their few seeds; but for a sweep's, which would hide them."""
    for agent, records in results.items():
        style = Style.of(agent)
        grid, values = curves_of(records, task.objective)
        if style.number is not None or not len(values):
            continue
        axes.plot(grid / 1e6, interquartile_mean(values.T), color=style.color, linewidth=1.4)
        interval = bootstrap_interval(values, _RESAMPLES) if len(values) >= _SEEDS_OF_A_BAND else None
        if interval is None:
            axes.plot(grid / 1e6, values.T, color=style.color, alpha=0.35, linewidth=0.7)
        else:
            axes.fill_between(grid / 1e6, *interval, color=style.color, alpha=0.2, linewidth=0)
    axes.axhline(task.goal, color="0.6", linewidth=0.8, linestyle="--")
    axes.set(xlabel="million environment steps", ylabel=f"{_said(task.objective)} in training", title=task.title)
    _limit(axes, task.objective)


def _draw_memories(axes: Axes, task: ResultsTask, results: Mapping[str, Sequence[RunRecord]]) -> None:
    """What the evaluation came to against live memories, a point a seed."""
    beside = 1.0
    for agent, records in results.items():
        style = Style.of(agent)
        judged = [record.evaluation for record in records if record.evaluation[task.measure] is not None]
        if not judged:
            continue
        scores = [each[task.measure] for each in judged]
        look = style.point() | {"linestyle": "", "clip_on": False}
        live = [each["live_memories"] for each in judged]
        if None not in live:
            axes.plot(live, scores, **look)
            if style.number is not None:
                # Below the worst of its points, of which it is the number; above one at the axis.
                lowest = min(zip(scores, live, strict=True))
                side = -1 if lowest[0] > _AT_THE_AXIS else 1
                axes.annotate(
                    style.number,
                    lowest[::-1],
                    xytext=(0, side * _LINE),
                    textcoords="offset points",
                    ha="center",
                    va="top" if side < 0 else "bottom",
                    fontsize=8,
                    color=style.color,
                    zorder=5,
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )
        else:
            # It has none to count, and so no place from left to right.
            beside += 0.04
            places = axes.get_yaxis_transform()
            axes.plot([beside] * len(scores), scores, transform=places, **look)
    axes.set(xlabel="live memories a step and layer")
    # No memories at all have a place on it, too.
    axes.set_xscale("symlog", linthresh=1, base=2)
    axes.xaxis.set_major_locator(SymmetricalLogLocator(base=4, linthresh=1))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlim(left=0)
    _limit(axes, task.measure)


def _limit(axes: Axes, what: str) -> None:
    if what.endswith("_rate"):
        axes.set_ylim(-0.03, 1.03)


def _draw_spans(axes: Axes, records: Sequence[RunRecord]) -> None:
    """Spans over the training, of states that show the cue and of the others, of the seeds that it was measured for;
    quantiles of all spans where there is no cue, or it wasn't measured."""
    of_cue = (("span_of_cue", "C3", "states that show the cue"), ("span_of_others", "C0", "all others"))
    quantiles = (
        ("span_q90", "C3", "a tenth is longer"),
        ("span_q50", "C0", "median"),
        ("span_q10", "C2", "a tenth is shorter"),
    )
    for name, color, label in of_cue if any("span_of_cue" in record.curve for record in records) else quantiles:
        grid, values = curves_of(records, name)
        if len(values):
            axes.plot(grid / 1e6, interquartile_mean(values.T), color=color, label=label, linewidth=1.4)
            axes.set_title(f"mean of {len(values)} {'seed' if len(values) == 1 else 'seeds'}", fontsize=9)
    # Spans may end at 0, and a tenth of them as long as all others together.
    axes.set_yscale("symlog", linthresh=1, base=2)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set(xlabel="million environment steps", ylabel="spans of the expiring memory, in steps")
    axes.set_ylim(0, 1.5 * axes.get_ylim()[1])


def _said(name: str) -> str:
    return name.replace("_", " ")


def curves_of(
    records: Sequence[RunRecord], name: str
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "seeds points"]]:
    """The curves of several seeds at the same steps, those that all of them have, by linear interpolation.

    Args:
        records: the results; those without this curve are left out.
        name: of the curve.

    Returns:
        Steps, and a row for each seed.
    """
    pairs = []
    for record in records:
        steps, values = record.curve["steps"], record.curve.get(name, [])
        known = [(step, value) for step, value in zip(steps, values, strict=bool(values)) if value is not None]
        if known:
            pairs.append(np.array(known, dtype=float).T)
    if not pairs:
        return np.empty(0), np.empty((0, 0))
    grid = np.linspace(max(steps[0] for steps, _ in pairs), min(steps[-1] for steps, _ in pairs), 100)
    return grid, np.stack([np.interp(grid, steps, values) for steps, values in pairs])
