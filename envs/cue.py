"""When a task shows its cue: the moments that a memory must keep."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
from minigrid.envs.memory import MemoryEnv

from envs.hallway import ROW, HallwayEnv


def sees_cue(env: gym.Env[Any, Any]) -> bool | None:
    """Whether the agent sees the cue now: the ball of a Corridor or an Endless T-Maze, the start room's object of a
    Memory task. None for an environment in which no place has one."""
    base = env.unwrapped
    if isinstance(base, HallwayEnv):
        cue = 1, ROW - 1
    elif isinstance(base, MemoryEnv):
        cue = 1, base.height // 2 - 1
    else:
        return None
    sees: Callable[[int, int], bool] = base.agent_sees
    return bool(sees(*cue))
