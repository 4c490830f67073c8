"""The agents of the matrix. They differ in the core alone: what is learned with, and for how long, is the task's.

But for one, which isn't ours (`experiments.results.recurrent_ppo`).
"""

import dataclasses
from collections.abc import Mapping

from experiments.config import CoreConfig, Memory
from experiments.errors import UserError, near_misses
from experiments.results import recurrent_ppo

DEFAULT = ("expire-span", "transformer-xl", "lstm", "none")
COMPARED = (*DEFAULT, recurrent_ppo.NAME)
"""Those that the table of all tasks has a column for."""

_MEMORIES: Mapping[str, Memory] = {
    "expire-span": "expiring",
    "transformer-xl": "transformer-xl",
    "lstm": "lstm",
    "none": "none",
    # sb3-contrib's has of the task's core the width of the encoder alone.
    recurrent_ppo.NAME: "lstm",
}
_SLOTS = {f"transformer-xl-{slots}": slots for slots in (8, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 2048)}
"""A Transformer-XL with slots of its own; without a number it has the task's."""

NAMES = (*_MEMORIES, *_SLOTS)


def core_of(agent: str, core: CoreConfig) -> CoreConfig:
    """The core that an agent has on a task.

    Args:
        agent: one of `NAMES`.
        core: the task's, that of the expiring agent.

    Raises:
        UserError: for another name, with the near misses.
    """
    if agent not in NAMES:
        raise UserError(f"--agents {agent}: no such agent: {near_misses(agent, NAMES)}")
    memory = _MEMORIES.get(agent, "transformer-xl")
    if memory != "expiring":
        # Where nothing expires, the count of all is the age, which carries over to longer ways as it is; with matches
        # alone a Transformer-XL turned right half the time where it had always done (`experiments/LOG.md`).
        core = dataclasses.replace(core, count_matches=False)
    if memory == "transformer-xl":
        # Nothing fades: its slot is needed before its span ends.
        return dataclasses.replace(core, memory=memory, slots=_SLOTS.get(agent, core.slots), ramp_length=1.0)
    return dataclasses.replace(core, memory=memory)
