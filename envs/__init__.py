"""Partially observable tasks; importing this package registers the `ExpireSpan/…-v0` ones with Gymnasium.

`make_env` makes a task as the agents read it, `TASKS` says what each demands of a memory. `envs.batched` has the
same tasks as batches of tensors.
"""

import gymnasium as gym

from envs.corridor import CorridorEnv
from envs.endless_tmaze import EndlessTMazeEnv
from envs.no_velocity import NoVelocity
from envs.tasks import (
    CART_POLE_NO_VELOCITY,
    CORRIDOR,
    ENDLESS_TMAZE,
    MEMORY,
    PENDULUM_NO_VELOCITY,
    TASKS,
    Task,
    levels,
    make_env,
)
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
gym.register(
    CART_POLE_NO_VELOCITY,
    entry_point="gymnasium.envs.classic_control.cartpole:CartPoleEnv",
    max_episode_steps=500,
    additional_wrappers=(NoVelocity.wrapper_spec(kept=[0, 2]),),
)
gym.register(
    PENDULUM_NO_VELOCITY,
    entry_point="gymnasium.envs.classic_control.pendulum:PendulumEnv",
    max_episode_steps=200,
    additional_wrappers=(NoVelocity.wrapper_spec(kept=[0, 1]),),
)

__all__ = [
    "CART_POLE_NO_VELOCITY",
    "CORRIDOR",
    "ENDLESS_TMAZE",
    "MEMORY",
    "PENDULUM_NO_VELOCITY",
    "TASKS",
    "Codes",
    "CorridorEnv",
    "EndlessTMazeEnv",
    "MiniGridCodes",
    "NoVelocity",
    "Task",
    "levels",
    "make_env",
]
