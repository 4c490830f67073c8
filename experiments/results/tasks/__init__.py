"""The tasks of the matrix, one small module each: `memory_s9.py` is `--tasks memory-s9`. A file of one's own is one.

Such a file is a preset's (`experiments/preset_file.py`) with up to four entries more: `evaluation` (with `episodes`,
`env_args`, `measure` and `turns`), `objective`, `goal` and `own`, each as in `ResultsTask`.
"""

import dataclasses
import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

from experiments import preset_file
from experiments.arguments import merged
from experiments.config import AgentConfig, CoreConfig
from experiments.environments import spaces_of
from experiments.errors import UserError, near_misses, user_errors
from experiments.results import agents
from experiments.results.task import Evaluation, ResultsTask
from experiments.settings import checked, kinds

_ENTRIES = {"format_version", "title", "config", "evaluation", "objective", "goal", "own"}
"""Of a file."""


def names() -> list[str]:
    """The names of all tasks, in alphabetical order, numbers by their size."""
    found = (module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
    return sorted(found, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def load(name: str) -> ResultsTask:
    """The task of this name, or in this file.

    Raises:
        UserError: if there is none, with the near misses, or the file isn't a task's.
    """
    if preset_file.is_file_name(name):
        return _read(Path(name))
    if name not in names():
        raise UserError(f"--tasks {name}: no such task: {near_misses(name, names())}")
    task = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").TASK
    assert isinstance(task, ResultsTask), name
    return task


def short_name(name: str) -> str:
    """What a task is called in folders and tables: its name, that of a file without folder and ending."""
    return Path(name).stem if preset_file.is_file_name(name) else name


def _read(path: Path) -> ResultsTask:
    if path.stem in names():
        raise UserError(f"--tasks {path}: {path.stem} is a task of ours: give the file another name")
    config = preset_file.read(path, "--tasks")
    record = json.loads(path.read_bytes())
    for name in record.keys() - _ENTRIES:
        raise UserError(f"--tasks {path}: has no {name!r}: {near_misses(name, _ENTRIES)}")
    top = {name: record[name] for name in ("objective", "goal") if name in record}
    arguments = checked(f"--tasks {path}:", top, kinds(ResultsTask))
    judged = Evaluation(**checked(f"--tasks {path}: evaluation", record.get("evaluation", {}), kinds(Evaluation)))
    if judged.episodes < 1:
        raise UserError(f"--tasks {path}: evaluation episodes {judged.episodes}: must be at least 1")
    if judged.turns < 0:
        raise UserError(f"--tasks {path}: evaluation turns {judged.turns}: must be at least 0")
    if judged.turns and judged.measure != "correct_turn_rate":
        raise UserError(f"--tasks {path}: evaluation turns are for the measure correct_turn_rate, not {judged.measure}")
    # What it can't be judged by is said before hours of training, not after.
    with user_errors(UserError, prefix=f"--tasks {path}: evaluation: "):
        env_args = merged(config.env.env_args, judged.env_args, "env_args")
        spaces_of(dataclasses.replace(config.env, env_args=env_args))
    task = ResultsTask(str(record.get("title", path.stem)), config, judged, **arguments)
    return dataclasses.replace(task, own=_read_own(path, record.get("own", {})))


def _read_own(path: Path, own: Any) -> dict[str, dict[str, Any]]:
    """The settings that agents have of their own, lists as tuples."""
    if not isinstance(own, dict):
        raise UserError(f'--tasks {path}: own must be an object of agents, such as {{"lstm": {{"batch_size": 256}}}}')
    known = {name: kind for section in (CoreConfig, AgentConfig) for name, kind in kinds(section).items()}
    del known["memory"]  # which is what an agent is
    for agent in own:
        if agent not in agents.OWN:
            raise UserError(f"--tasks {path}: own has no agent {agent!r}: {near_misses(agent, agents.OWN)}")
    return {agent: checked(f"--tasks {path}: own {agent}", values, known) for agent, values in own.items()}
