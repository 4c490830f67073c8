"""The picture of a task: learning curves with intervals over seeds, success against live memories, and what became of
the expiring agent's spans."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from experiments.results.record import RunRecord
from experiments.results.statistics import bootstrap_interval, interquartile_mean
from experiments.results.task import ResultsTask
from experiments.runs import written_whole

_RESAMPLES = 1000
"""Of a curve's interval, at each point."""


def draw(path: Path, task: ResultsTask, agents: Mapping[str, Sequence[RunRecord]]) -> None:
    """Draws a task.

    Args:
        path: of the picture; its folder is made.
        task: whose results they are.
        agents: the results of each agent.
    """
    figure = Figure(figsize=(15, 4), layout="constrained")
    curves, memories, spans = figure.subplots(1, 3)
    for number, (agent, records) in enumerate(agents.items()):
        color = f"C{number % 10}"
        grid, values = curves_of(records, task.objective)
        if len(values):
            curves.plot(grid / 1e6, interquartile_mean(values.T), color=color, label=agent, linewidth=1.4)
            interval = bootstrap_interval(values, _RESAMPLES)
            if interval is not None:
                curves.fill_between(grid / 1e6, *interval, color=color, alpha=0.2, linewidth=0)
        judged = [record.evaluation for record in records if record.evaluation[task.measure] is not None]
        points = [(each["live_memories"], each[task.measure]) for each in judged if each["live_memories"] is not None]
        if points:
            memories.plot(*zip(*points, strict=True), "o", color=color, label=agent, alpha=0.7)
        elif judged:
            # It has none to count, and so no place of its own from left to right.
            score = interquartile_mean(np.array([each[task.measure] for each in judged], dtype=float))
            memories.axhline(score, color=color, label=agent, linewidth=1.2, linestyle=":")
    curves.axhline(task.goal, color="0.6", linewidth=0.8, linestyle="--")
    curves.set(xlabel="million environment steps", ylabel=f"{_said(task.objective)} in training", title=task.title)
    memories.set(xlabel="live memories a step and layer", ylabel=f"{_said(task.measure)} of the evaluation")
    # No memories at all have a place on it, too.
    memories.set_xscale("symlog", linthresh=1, base=2)
    memories.xaxis.set_major_formatter(ScalarFormatter())
    memories.tick_params(axis="x", labelsize=7)  # up to 2,048 slots, and none written over another
    memories.set_xlim(left=0)
    for axes, what in ((curves, task.objective), (memories, task.measure)):
        if what.endswith("_rate"):
            axes.set_ylim(-0.03, 1.03)
    _draw_spans(spans, agents.get("expire-span", ()))
    for axes in (curves, memories, spans):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial:
        # Without the version of the library, the same results give the same file.
        figure.savefig(partial, dpi=100, metadata={"Software": None})


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
    # Spans may end at 0, and a tenth of them as long as all others together.
    axes.set_yscale("symlog", linthresh=1, base=2)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set(xlabel="million environment steps", ylabel="spans of the expiring memory, in steps", ylim=(0, None))


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
