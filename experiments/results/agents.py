"""The agents of the matrix. They differ in the core, and in what a task says suits one of them better (`own`).

But for one, which isn't ours (`experiments.results.recurrent_ppo`).
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from agents.cores import CORES
from experiments.config import CoreConfig, Memory, TrainConfig
from experiments.errors import UserError, near_misses
from experiments.results import recurrent_ppo
from experiments.results.task import ResultsTask
from experiments.settings import kinds, with_settings

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
_SLOTS = {f"transformer-xl-{slots}": {"slots": slots} for slots in (8, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048)}
"""A Transformer-XL with slots of its own; without a number it has the task's."""
_BUDGETS = {f"expire-span-{budget}": {"memory_budget_end": float(budget)} for budget in (1, 2, 4, 8, 16)}
"""Expiring memory with a budget of its own; without a number it has the task's."""
_AS_PUBLISHED = {
    "read_margin": 0.0,
    "ramp_gradient": True,
    "ramp_length": 16.0,
    "ramp_power": 1.0,
    "memory_budget": 0.0,
    "memory_budget_end": None,
    "forget_at_success": None,
}
_PRICES = {
    f"expire-span-paper-{price}": {**_AS_PUBLISHED, "expire_loss_coef": float(price)}
    for price in ("1e-4", "1e-5", "1e-6")
}
"""Expiring memory that learns spans by the reward's gradient on the ramp and a constant price, as in the paper; but
the price is our own, of the mean span."""
_VARIANTS: Mapping[str, Mapping[str, Any]] = {**_BUDGETS, **_PRICES}
PRICE = ("memory_budget", "memory_budget_end", "expire_loss_coef", "forget_at_success", "read_loss_coef")
"""The settings of learning that make memories expire."""

SWEEPS = {"expire-span": tuple(_BUDGETS), "expire-span-paper": tuple(_PRICES), "transformer-xl": tuple(_SLOTS)}
"""By the name before their number those that differ in their budget, price or slots alone."""
NAMES = (*_MEMORIES, *_VARIANTS, *_SLOTS)
OWN = ("transformer-xl", "lstm", PLAIN, "none")
"""Those that a task can have settings of their own for; a Transformer-XL's are those of its sweep, too."""


def check_name(agent: str) -> None:
    """Raises a `UserError` for a name that isn't one of `NAMES`, with the near misses."""
    if agent not in NAMES:
        raise UserError(f"--agents {agent}: no such agent: {near_misses(agent, NAMES)}")


def config_of(agent: str, task: ResultsTask) -> TrainConfig:
    """What an agent, one of `NAMES`, is trained with on a task."""
    memory = _memory(agent)
    if memory == "expire-span":
        return with_settings(task.config, _VARIANTS.get(agent, {}))
    # Where nothing expires, the count of all is the age, which carries over to longer ways as it is; with matches
    # alone a Transformer-XL turned right half the time where it had always done (`experiments/LOG.md`).
    core = dataclasses.replace(task.config.core, memory=memory, count_matches=False)
    if memory == "lstm":
        core = dataclasses.replace(core, output_norm=agent != PLAIN)
    own = task.own.get("transformer-xl" if agent in _SLOTS else agent, {})
    return with_settings(dataclasses.replace(task.config, core=core), {**own, **_SLOTS.get(agent, {})})


def unused(agent: str) -> set[str]:
    """The settings, `core.ramp_length`, that an agent has no use for: whatever they are, its runs are the same."""
    memory = _memory(agent)
    # Without slots the core is a Transformer-XL's, too: nothing is there that could expire, or be of some age.
    used = set(inspect.signature(CORES["transformer-xl" if memory == "none" else memory]).parameters)
    if memory == "none":
        used -= {"slots", "seq_len"}
    of_agent = set() if memory == "expire-span" else set(PRICE)
    if agent == recurrent_ppo.NAME:
        used = recurrent_ppo.OF_CORE
        of_agent |= recurrent_ppo.NOT_OF_AGENT
    of_core = kinds(CoreConfig).keys() - used - {"memory"}
    return {f"core.{name}" for name in of_core} | {f"agent.{name}" for name in of_agent}


def _memory(agent: str) -> Memory:
    return "expire-span" if agent in _VARIANTS else _MEMORIES.get(agent, "transformer-xl")
