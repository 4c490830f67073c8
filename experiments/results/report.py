"""The report: tables in a page, and pictures, from the results alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import AgentConfig, CoreConfig, ResultsConfig
from experiments.errors import UserError, user_errors
from experiments.results import agents, page, tasks
from experiments.results.matrix import Cell, found
from experiments.results.pictures import draw, draw_memories_of
from experiments.results.record import RunRecord
from experiments.results.statistics import bootstrap_interval, interquartile_mean
from experiments.results.task import ResultsTask

PICTURES = Path("docs") / "results"
"""In the page's folder."""
GLANCE = Path("docs") / "at-a-glance.png"
"""The picture of all tasks that have sweeps; not among theirs, one of which may be called so."""

_HEAD = (
    *("agent", "seeds", "{}", "lowest", "learned", "steps to {}", "minutes", "lowest later"),
    *("live memories", "slots", "episode length"),
)
_HEAD_OF_COSTS = ("agent", "in training", "levels solved", "steps/s", "peak MiB", "device")
_LEGEND = """\
Each number is an interquartile mean over the seeds: of five, the mean of the middle three; of three, the plain mean.

- *success rate* (*mean return*, *correct turn rate*): of the evaluation, with its 95 % bootstrap interval.
- *lowest*: the worst seed's.
- *learned*: seeds that reached the goal at some time in training; *steps to* it and *minutes* are theirs alone.
- *lowest later*: the least that the objective was in the second half of training in any run that had learned the task
  by then: how steady an agent is.
- *live memories*: of a step and layer, beside the *slots* and the *episode length*.
- *in training*: the objective at the end of training, where actions are sampled.
- *levels solved*: of all levels that there are, over all seeds, where they can be counted."""

Results = list[tuple[Cell, RunRecord]]


def report(config: ResultsConfig) -> int:
    """Writes the tables into the page and the pictures beside it; returns 0.

    Raises:
        UserError: if there are no results, or the page has no markers, isn't UTF-8 or can't be written.
    """
    every = found(config)
    stale = [(cell, record) for cell, record in every if cell.differences(record.settings)]
    fresh = [result for result in every if result not in stale]
    if not every:
        raise UserError(f"--data {config.data} has no results of these tasks and agents yet: leave out --report first")
    path = Path(config.page)
    given = {tasks.short_name(name): name for name in config.tasks or tasks.names()}
    of_task = _by_task(fresh)
    with user_errors(OSError, prefix=f"--page {path} can't be written: "):
        before, tables = page.read(path), [_LEGEND]
        for task, results in of_task.items():
            draw(path.parent / _picture(task), results[0][0].definition, _by_agent(results))
            tables += [_section(given[task], results), f"![{task}]({_picture(task).as_posix()})"]
        tables += [_total([record for _, record in fresh]), *_left_out(stale)]
        before.write({page.AT_A_GLANCE: _at_a_glance(of_task, path.parent), page.TABLES: "\n\n".join(tables)})
    print(f"{path}: {len(fresh)} runs of {len(of_task)} tasks, {len(stale)} left out as stale")
    return 0


def _picture(name: str) -> Path:
    """Where a picture lies, from the page."""
    return PICTURES / f"{name}.png"


def _by_task(results: Results) -> dict[str, Results]:
    of_task: dict[str, Results] = {}
    for cell, record in results:
        of_task.setdefault(cell.task, []).append((cell, record))
    return of_task


def _by_agent(results: Results) -> dict[str, list[RunRecord]]:
    of_agent: dict[str, list[RunRecord]] = {}
    for cell, record in results:
        of_agent.setdefault(cell.agent, []).append(record)
    return of_agent


def _section(task: str, results: Results) -> str:
    """The heading, what was trained and how it was judged, and the table of the agents."""
    definition = results[0][0].definition
    judged = definition.evaluation
    env = " ".join((definition.config.env.env_id, *definition.config.env.env_args))
    how = (
        f"`{env}`, {definition.config.total_timesteps:,} steps; judged by {judged.episodes:,} fresh episodes"
        f"{' with ' + ' '.join(judged.env_args) if judged.env_args else ''}, likeliest actions"
        f"{f'; turns missing of {judged.turns:,} an episode are wrong' if judged.turns else ''}."
    )
    by_agent = _by_agent(results)
    own = [f"{agent} with {_settings(values)}" for agent, values in definition.own.items() if agent in by_agent]
    if own:
        how += f" Settings of their own: {'; '.join(own)}."
    memory = _changed(definition.config.core, CoreConfig()) | {
        name: value for name, value in _changed(definition.config.agent, AgentConfig()).items() if name in agents.PRICE
    }
    measure = definition.measure.replace("_", " ")
    head = [name.format(measure if name == "{}" else f"{definition.goal:g}") for name in _HEAD]
    return "\n\n".join(
        (
            f"### {definition.title}",
            how,
            f"The expiring memory, where it differs from the defaults: {_settings(memory)}.",
            _table(head, [_row(definition, agent, records) for agent, records in by_agent.items()]),
            "<details><summary>What it cost, and the command that makes it again</summary>",
            _table(_HEAD_OF_COSTS, [_costs(definition, agent, records) for agent, records in by_agent.items()]),
            f"```sh\n{_again(task, by_agent)}\n```",
            "</details>",
        )
    )


def _changed(config: CoreConfig | AgentConfig, default: CoreConfig | AgentConfig) -> dict[str, Any]:
    """The settings that aren't at their default."""
    before = dataclasses.asdict(default)
    return {name: value for name, value in dataclasses.asdict(config).items() if value != before[name]}


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` {value}" for name, value in values.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _again(task: str, by_agent: dict[str, list[RunRecord]]) -> str:
    """The commands that make just these results, a line for agents of the same seeds."""
    agents_of: dict[str, list[str]] = {}
    for agent, records in by_agent.items():
        seeds = " ".join(str(seed) for seed in sorted(record.seed for record in records))
        agents_of.setdefault(seeds, []).append(agent)
    return "\n".join(
        f"expire-span results --tasks {task} --agents {' '.join(names)} --seeds {seeds} "
        f"--runs runs/again --data runs/again/data"
        for seeds, names in agents_of.items()
    )


def _at_a_glance(of_task: Mapping[str, Results], folder: Path) -> str:
    """A table of all tasks by the agents that are compared, if there are results of any; below it the picture of those
    tasks that have sweeps, drawn into its place in this folder."""
    shown = []
    for results in of_task.values():
        by_agent = _by_agent(results)
        by_agent.pop(agents.PLAIN, None)
        shown.append((results[0][0].definition, by_agent))
    columns = [name for name in agents.COMPARED if any(name in by_agent for _, by_agent in shown)]
    if not columns:
        return ""
    rows = []
    for definition, by_agent in shown:
        scores = [_score(definition, by_agent.get(name, [])) for name in columns]
        rows.append([definition.title.replace("|", "\\|"), definition.measure.replace("_", " "), *scores])
    counts = [
        _count([seed for definition, by_agent in shown for seed in _at_goal(definition, by_agent.get(name, []))])
        for name in columns
    ]
    if any(counts):
        rows.append(["**all of them**", "seeds at the goal", *counts])
    how = (
        "Mean of the middle three of five seeds (of three seeds: the plain mean), and the worst seed, if worse. "
        "In brackets: live memories of a step and layer; number of seeds. Bold: every seed reaches the task's goal."
    )
    parts = [_table(["task", "judged by", *columns], rows), how]
    swept = [(definition, by_agent) for definition, by_agent in shown if by_agent.keys() - set(agents.COMPARED)]
    if swept:
        draw_memories_of(folder / GLANCE, swept)
        parts += [
            f"![Success against live memories]({GLANCE.as_posix()})",
            "Each point is a seed; rings have a lower budget, crosses learn spans by the reward's gradient, as the "
            "paper does, at that constant price, empty squares have other numbers of slots. What has no slots to count "
            "stands at the right.",
        ]
    return "\n\n".join(parts)


def _score(definition: ResultsTask, records: Sequence[RunRecord]) -> str:
    if not records:
        return ""
    scores = [record.evaluation[definition.measure] for record in records]
    form = ".0f" if definition.measure == "mean_return" else ".3f"
    score, lowest = _mean(scores, form), _lowest(scores, form)
    live = _mean([record.evaluation["live_memories"] for record in records], ".1f")
    in_brackets = f"{live}; {len(records)}" if live else f"{len(records)}"
    # A mean between quartiles doesn't see a single seed that failed.
    worst = "" if lowest == score else f", lowest {lowest}"
    at_goal = _at_goal(definition, records)
    if at_goal and all(at_goal):
        score = f"**{score}**"
    return f"{score}{worst} ({in_brackets})"


def _at_goal(definition: ResultsTask, records: Sequence[RunRecord]) -> list[bool]:
    """Of each seed whether it is at the goal, where what is judged has one."""
    goal = definition.goal_of_measure
    if goal is None:
        return []
    scores = [record.evaluation[definition.measure] for record in records]
    return [score is not None and score >= goal for score in scores]


def _count(seeds: Sequence[bool]) -> str:
    """Those that are of all; nothing where there are none."""
    return f"{sum(seeds)} of {len(seeds)}" if seeds else ""


def _levels(records: Sequence[RunRecord]) -> str:
    """Solved of all, over the seeds; nothing where levels can't be counted."""
    counted = [record.evaluation for record in records if record.evaluation["levels"] is not None]
    solved = sum(evaluation["levels_solved"] for evaluation in counted)
    return f"{solved} of {sum(evaluation['levels'] for evaluation in counted)}" if counted else ""


def _last(curve: Sequence[float | None]) -> float | None:
    """The last value of a curve that has one."""
    return next((value for value in reversed(curve) if value is not None), None)


def _lowest_later(record: RunRecord, objective: str) -> float | None:
    """The lowest of the objective in the second half of training, once the goal was reached: how steady it is then."""
    assert record.goal_steps is not None
    begin = max(record.goal_steps, record.steps / 2)
    points = zip(record.curve["steps"], record.curve.get(objective, []), strict=True)
    return min((value for step, value in points if step and step >= begin and value is not None), default=None)


def _lowest(values: Sequence[float | None], form: str = ".3f") -> str:
    known = [value for value in values if value is not None]
    return format(min(known), form) if known else ""


def _row(definition: ResultsTask, agent: str, records: Sequence[RunRecord]) -> list[str]:
    """An agent's, over its seeds: interquartile means, of the objective with its interval."""
    learned = [record for record in records if record.goal_steps is not None]
    scores = [record.evaluation[definition.measure] for record in records]
    return [
        agent,
        str(len(records)),
        _with_interval(scores),
        _lowest(scores),
        f"{len(learned)} of {len(records)}",
        _mean([record.goal_steps for record in learned], ",.0f"),
        _mean([None if record.goal_seconds is None else record.goal_seconds / 60 for record in learned], ",.1f"),
        _lowest([_lowest_later(record, definition.objective) for record in learned]),
        _mean([record.evaluation["live_memories"] for record in records], ".1f"),
        "" if records[0].slots is None else str(records[0].slots),
        _mean([record.evaluation["mean_length"] for record in records], ",.1f"),
    ]


def _costs(definition: ResultsTask, agent: str, records: Sequence[RunRecord]) -> list[str]:
    """What an agent's training came to and took, over its seeds."""
    return [
        agent,
        _mean([_last(record.curve.get(definition.objective, [])) for record in records], ".3f"),
        _levels(records),
        _mean([record.steps_per_second for record in records], ",.0f"),
        _mean([record.peak_memory_mib for record in records], ",.0f"),
        ", ".join(sorted({record.device_name for record in records})),
    ]


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(float(interquartile_mean(np.array(known, dtype=float))), form) if known else ""


def _with_interval(values: Sequence[float | None]) -> str:
    known = np.array([value for value in values if value is not None], dtype=float)
    if not len(known):
        return ""
    interval = bootstrap_interval(known)
    ends = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return f"{interquartile_mean(known):.3f}{ends}"


def _total(records: Sequence[RunRecord]) -> str:
    """What it all cost, and what it was made from."""
    hours = sum(record.seconds for record in records) / 3600
    devices = ", ".join(sorted({record.device_name for record in records}))
    changed = sum(record.git is not None and record.git["changed"] for record in records)
    unknown = sum(record.git is None for record in records)
    return (
        f"{len(records)} runs, {hours:.2f} hours of training on {devices or 'no device'}. Each result names the commit "
        f"that it was made from; {changed} were made from one with changes that weren't committed"
        f"{f', {unknown} from no checkout' if unknown else ''}."
    )


def _left_out(stale: Results) -> list[str]:
    """A line for each result that isn't of the settings that its task has now."""
    if not stale:
        return []
    lines = [f"- {cell}: {', '.join(cell.differences(record.settings))}" for cell, record in stale]
    return ["\n".join(["Left out, since their tasks have other settings now:", "", *lines])]
