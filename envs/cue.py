"""When a task shows its cue: the moments that a memory must keep."""

from typing import Any

import gymnasium as gym
from minigrid.core.world_object import Ball, Key
from minigrid.envs.memory import MemoryEnv

from envs.hallway import ROW, HallwayEnv


def sees_cue(env: gym.Env[Any, Any]) -> bool | None:
    """Whether the agent sees the cue now: the ball of a Corridor or an Endless T-Maze, the start room's object of a
    Memory task. None for an environment that has none there."""
    base: Any = env.unwrapped
    if isinstance(base, HallwayEnv):
        cue = 1, ROW - 1
    elif isinstance(base, MemoryEnv):
        cue = 1, base.height // 2 - 1
    else:
        return None
    # A subclass may have laid its level differently.
    return bool(base.agent_sees(*cue)) if isinstance(base.grid.get(*cue), (Ball, Key)) else None
