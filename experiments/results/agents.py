"""The agents of the matrix. They differ in the core, and in what a task says suits one of them better (`own`).

But for one, which isn't ours (`experiments.results.recurrent_ppo`).
"""

import dataclasses
from collections.abc import Mapping

from experiments.config import Memory, TrainConfig
from experiments.errors import UserError, near_misses
from experiments.results import recurrent_ppo
from experiments.results.task import ResultsTask
from experiments.settings import with_settings

DEFAULT = ("expire-span", "transformer-xl", "lstm", "none")
PLAIN = "lstm-plain"
"""An LSTM whose output isn't normalised, as PyTorch and sb3-contrib have it."""

_MEMORIES: Mapping[str, Memory] = {
    "expire-span": "expire-span",
    "transformer-xl": "transformer-xl",
    "lstm": "lstm",
    PLAIN: "lstm",
    "none": "none",
    # sb3-contrib's has of the task's core the width of the encoder alone.
    recurrent_ppo.NAME: "lstm",
}
COMPARED = tuple(name for name in _MEMORIES if name != PLAIN)
"""Those that the table of all tasks has a column for: each memory once, and the agent that isn't ours."""
_SLOTS = {f"transformer-xl-{slots}": slots for slots in (8, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048)}
"""A Transformer-XL with slots of its own; without a number it has the task's."""
_BUDGETS = {f"expire-span-{budget}": budget for budget in (1, 2, 4, 8, 16)}
"""Expiring memory with a budget of its own; without a number it has the task's."""

SWEEPS = {"expire-span": tuple(_BUDGETS), "transformer-xl": tuple(_SLOTS)}
"""By an agent those that differ from it in their budget or slots alone."""
NAMES = (*_MEMORIES, *_BUDGETS, *_SLOTS)
OWN = ("transformer-xl", "lstm", PLAIN, "none")
"""Those that a task can have settings of their own for; a Transformer-XL's are those of its sweep, too."""


def check_name(agent: str) -> None:
    """Raises a `UserError` for a name that isn't one of `NAMES`, with the near misses."""
    if agent not in NAMES:
        raise UserError(f"--agents {agent}: no such agent: {near_misses(agent, NAMES)}")


def config_of(agent: str, task: ResultsTask) -> TrainConfig:
    """What an agent, one of `NAMES`, is trained with on a task."""
    if agent in _BUDGETS:
        return with_settings(task.config, {"memory_budget_end": float(_BUDGETS[agent])})
    memory = _MEMORIES.get(agent, "transformer-xl")
    if memory == "expire-span":
        return task.config
    # Where nothing expires, the count of all is the age, which carries over to longer ways as it is; with matches
    # alone a Transformer-XL turned right half the time where it had always done (`experiments/LOG.md`).
    core = dataclasses.replace(task.config.core, memory=memory, count_matches=False)
    if memory == "transformer-xl":
        # Nothing fades: its slot is needed before its span ends.
        core = dataclasses.replace(core, ramp_length=1.0)
    if memory == "lstm":
        core = dataclasses.replace(core, output_norm=agent != PLAIN)
    own = task.own.get("transformer-xl" if agent in _SLOTS else agent, {})
    of_sweep = {"slots": _SLOTS[agent]} if agent in _SLOTS else {}
    return with_settings(dataclasses.replace(task.config, core=core), {**own, **of_sweep})
