"""The cells of the matrix: which run each is, where its files lie, what settings make it that run."""

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments import preset_file, runs
from experiments.config import ResultsConfig, TrainConfig
from experiments.errors import UserError, user_errors
from experiments.results import agents, tasks
from experiments.results.record import RunRecord, read_record
from experiments.results.task import ResultsTask

State = Literal["done", "stale", "failed", "interrupted", "new"]
"""What became of a run so far; stale: there is a result, of other settings than the task has now."""

_OF_NO_RUN = {"seed", "env.n_workers", "env.env_timeout"}
"""Settings that may differ between results that are compared."""


@dataclass(frozen=True)
class Cell:
    """One run of the matrix."""

    task: str
    """Its short name."""
    agent: str
    seed: int
    definition: ResultsTask
    config: TrainConfig
    """The task's settings for the agent, with the seed."""
    run_dir: Path
    record: Path
    """The small file of its result."""

    def __str__(self) -> str:
        return f"{self.task} {self.agent} seed {self.seed}"

    @property
    def key(self) -> str:
        """A file name that no other cell has."""
        return f"{self.task}--{self.agent}--{self.seed}"

    def settings(self) -> dict[str, Any]:
        """All that results have in common which are compared, as JSON has it, by name."""
        return settings_of(self.config, self.definition)

    def differences(self, before: dict[str, Any]) -> list[str]:
        """The settings, of those that the agent has a use for, that another run of this cell was made with otherwise.

        Args:
            before: as `settings_of` has them.

        Returns:
            Each as `name before -> now`.
        """
        return differences(self.settings(), before, agents.unused(self.agent))

    def state(self) -> State:
        """What became of it so far."""
        if self.record.is_file():
            return "stale" if self.differences(read_record(self.record).settings) else "done"
        if (self.run_dir / runs.ERROR).is_file():
            return "failed"
        return "interrupted" if (self.run_dir / runs.CONFIG).is_file() else "new"


def cells(config: ResultsConfig) -> list[Cell]:
    """The matrix that is asked for: of each task first all agents with the first seed.

    Raises:
        UserError: for an unknown task or agent, or one that is given twice.
    """
    names = config.tasks or tuple(tasks.names())
    seeds = config.seeds
    chosen = config.agents or agents.DEFAULT
    for flag, given in (("tasks", [tasks.short_name(name) for name in names]), ("agents", chosen), ("seeds", seeds)):
        twice = next((value for i, value in enumerate(given) if value in given[:i]), None)
        if twice is not None:
            raise UserError(f"--{flag} {twice}: is given twice")
    definitions = {tasks.short_name(name): tasks.load(name) for name in names}
    for agent in chosen:
        agents.check_name(agent)
    result = [
        cell(config, task, definition, agent, seed)
        for task, definition in definitions.items()
        for seed in seeds
        for agent in chosen
    ]
    for one in result:
        with user_errors(UserError, prefix=f"--tasks {one.task}: "):
            one.config.check()
    return result


def cell(config: ResultsConfig, task: str, definition: ResultsTask, agent: str, seed: int) -> Cell:
    """A cell of the matrix whose files lie where `config` says."""
    return Cell(
        task,
        agent,
        seed,
        definition,
        dataclasses.replace(agents.config_of(agent, definition), seed=seed),
        Path(config.runs) / task / agent / f"seed{seed}",
        Path(config.data) / task / agent / f"seed{seed}.json",
    )


def settings_of(config: TrainConfig, definition: ResultsTask) -> dict[str, Any]:
    """The settings of a training and its evaluation, as JSON has them, by name: `core.slots`."""
    flat: dict[str, Any] = {}
    sections = {
        **preset_file.content(config, "")["config"],
        "evaluation": dataclasses.asdict(definition.evaluation),
        "objective": definition.objective,
        "goal": definition.goal,
    }
    for name, value in sections.items():
        flat |= {f"{name}.{part}": inner for part, inner in value.items()} if isinstance(value, dict) else {name: value}
    kept = {name: value for name, value in flat.items() if name not in _OF_NO_RUN}
    as_json: dict[str, Any] = json.loads(json.dumps(kept))
    return as_json


def differences(now: dict[str, Any], before: dict[str, Any], unused: Collection[str] = ()) -> list[str]:
    """The settings that differ, but for those without a use, each `name before -> now`.

    One that there wasn't is taken to have been at its default: a new setting changes nothing until it is used.
    """
    default = settings_of(TrainConfig(), ResultsTask("", TrainConfig()))
    now, before = default | now, default | before
    names = sorted({name for name in (now.keys() | before.keys()) - set(unused) if now.get(name) != before.get(name)})
    return [f"{name} {before.get(name)} -> {now.get(name)}" for name in names]


def counts(states: list[State]) -> dict[State, int]:
    """How many there are of each state, those that there are."""
    order: tuple[State, ...] = ("done", "stale", "failed", "interrupted", "new")
    return {state: states.count(state) for state in order if state in states}


def found(config: ResultsConfig) -> list[tuple[Cell, RunRecord]]:
    """All results of the tasks that are asked for, of all agents and seeds unless agents are named.

    Raises:
        UserError: for an unknown task or agent, or a file that isn't a result.
    """
    chosen = config.agents or agents.NAMES
    for agent in chosen:
        agents.check_name(agent)
    result = []
    for name in config.tasks or tasks.names():
        task, definition = tasks.short_name(name), tasks.load(name)
        for agent in chosen:
            paths = (Path(config.data) / task / agent).glob("seed*.json")
            records = sorted((read_record(path) for path in paths), key=lambda record: record.seed)
            result += [(cell(config, task, definition, agent, record.seed), record) for record in records]
    return result
