"""Partially observable tasks; importing this package registers the `ExpireSpan/…-v0` ones with Gymnasium.

`make_env` makes a task as the agents read it, `TASKS` says what each demands of a memory. `envs.batched` has the
same tasks as batches of tensors.
"""

import gymnasium as gym

from envs.corridor import CorridorEnv
from envs.endless_tmaze import EndlessTMazeEnv
from envs.tasks import CORRIDOR, ENDLESS_TMAZE, MEMORY, TASKS, Task, levels, make_env
from envs.wrappers import Codes, MiniGridCodes

_VECTOR = "envs.batched.vector_env:make"

# The time limit is the environments' own, since it depends on their arguments. A vector entry point isn't told
# the id for which it's called.
gym.register(CORRIDOR, entry_point="envs.corridor:CorridorEnv", vector_entry_point=f"{_VECTOR}_corridor")
gym.register(
    ENDLESS_TMAZE, entry_point="envs.endless_tmaze:EndlessTMazeEnv", vector_entry_point=f"{_VECTOR}_endless_tmaze"
)
gym.register(
    MEMORY,
    entry_point="envs.view:FastMemoryEnv",
    vector_entry_point=f"{_VECTOR}_memory",
    # MiniGrid's own default, 8, is even and fails.
    kwargs={"size": 13},
)

__all__ = [
    "CORRIDOR",
    "ENDLESS_TMAZE",
    "MEMORY",
    "TASKS",
    "Codes",
    "CorridorEnv",
    "EndlessTMazeEnv",
    "MiniGridCodes",
    "Task",
    "levels",
    "make_env",
]
