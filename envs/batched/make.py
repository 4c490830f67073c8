"""Makes batched environments by Gymnasium's ids and the Python environments' arguments."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import torch
from minigrid.envs.memory import MemoryEnv

from envs.batched.corridor import CorridorTask
from envs.batched.endless_tmaze import EndlessTMazeTask
from envs.batched.engine import BatchedEnv, BatchedTask
from envs.batched.memory import MemoryTask
from envs.corridor import CorridorEnv
from envs.endless_tmaze import EndlessTMazeEnv
from envs.tasks import make_env
from envs.view import FastMemoryEnv

# The exact classes: a subclass may do something else.
_TASKS: Mapping[type, Callable[[Any, torch.device], BatchedTask]] = {
    CorridorEnv: CorridorTask,
    EndlessTMazeEnv: EndlessTMazeTask,
    FastMemoryEnv: MemoryTask,
}

# By name too, or listing the ids would import every package that registers environments.
_ENTRY_POINTS = {
    *(entry_point for made in _TASKS for entry_point in (made, f"{made.__module__}:{made.__qualname__}")),
    MemoryEnv,
    "minigrid.envs:MemoryEnv",
}


def batched_ids() -> list[str]:
    """The registered ids that have a batched version, sorted."""
    return sorted(env_id for env_id, spec in gym.registry.items() if spec.entry_point in _ENTRY_POINTS)


def has_batched(env_id: str) -> bool:
    """Whether `make_batched` knows an id (`module:id` isn't imported for it)."""
    spec = gym.registry.get(env_id.rpartition(":")[2])
    return spec is not None and spec.entry_point in _ENTRY_POINTS


def make_batched(
    env_id: str, n_envs: int, device: torch.device | str = "cpu", seed: int = 0, **kwargs: Any
) -> BatchedEnv:
    """Make `n_envs` environments of `env_id` as one batch of tensors.

    Args:
        env_id: One of `batched_ids()`.
        n_envs: Number of environments, at least 1.
        device: Where they step. Default the CPU.
        seed: Of the first episodes. Default 0.
        **kwargs: The environment's own arguments, as for `make_env`, but not what concerns rendering or
            `max_episode_steps`.

    Raises:
        ValueError: In one line, for an id that is unknown or has no batched version, an argument that is
            unknown or out of range, or `n_envs` below 1.
    """
    if n_envs < 1:
        raise ValueError(f"n_envs must be at least 1, not {n_envs}")
    if kwargs.get("render_mode") is not None:
        raise ValueError("a batched environment doesn't render; take make_env for render_mode")
    if "max_episode_steps" in kwargs:
        raise ValueError("a batched environment has no max_episode_steps; give max_steps")
    try:
        where = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"no device {str(device)!r}; take for instance cpu or cuda") from error
    env = make_env(env_id, **kwargs)
    base: Any = env.unwrapped
    make_task = _TASKS.get(type(base))
    if make_task is None:
        raise ValueError(f"{env_id} has no batched version; these have one: {', '.join(batched_ids())}")
    if base.max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, not {base.max_steps}")
    return BatchedEnv(make_task(base, where), n_envs, where, seed)
