"""Partially observable tasks; importing this package registers `ExpireSpan/Corridor-v0` with Gymnasium.

`make_env` makes a task as the agents read it, `TASKS` says what each demands of a memory.
"""

import gymnasium as gym

from envs.corridor import CorridorEnv
from envs.tasks import CORRIDOR, TASKS, Task, levels, make_env
from envs.wrappers import Codes, MiniGridCodes

# The time limit is the environment's own, since it depends on its arguments.
gym.register(CORRIDOR, entry_point="envs.corridor:CorridorEnv")

__all__ = ["CORRIDOR", "TASKS", "Codes", "CorridorEnv", "MiniGridCodes", "Task", "levels", "make_env"]
