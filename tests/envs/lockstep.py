"""The Python environments of a batched environment's levels, and both in lockstep."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from envs.batched import BatchedEnv, Transition
from envs.batched.corridor import CorridorTask
from envs.batched.counter_random import NEXT_PART
from envs.batched.endless_tmaze import EndlessTMazeTask
from envs.batched.levels import enter_level
from envs.batched.memory import MemoryTask
from envs.batched.walk import AHEAD, VARIANT
from tests.envs.conformance import base_of


def draws_of(env: BatchedEnv, i: int) -> list[int]:
    """What the Python environment of environment `i` must draw for the level which that has just been reset to."""
    task, state = env.task, env.get_state()
    if isinstance(task, MemoryTask):
        places = task.codes(state.places)
        column, _, _ = task.poses[int(places[i])]
        level = next(
            level for level, start in zip(task.levels, task.starts.tolist(), strict=True) if start == int(places[i])
        )
        assert level.start == column
        return list(level)
    place = state.places[:, i].tolist()
    if isinstance(task, CorridorTask):
        return [place[AHEAD], *task.variants[place[VARIANT]]]
    assert isinstance(task, EndlessTMazeTask)
    # All corridors of an episode that can be reached in it.
    parts = state.keys[i] + NEXT_PART * torch.arange(env.max_steps + 1)
    corridors = task.start(parts)
    return [int(draw) for corridor in zip(corridors[AHEAD], corridors[VARIANT], strict=True) for draw in corridor]


def assert_equal_in_lockstep(env: BatchedEnv, python_envs: list[gym.Env[Any, Any]], steps: int, seed: int = 0) -> int:
    """Step both with the same actions and compare all they give.

    Args:
        env: The batched environment.
        python_envs: `make_env`'s for each environment; they are put in the levels of `env`.
        steps: How many steps.
        seed: Of the levels and the actions, of which most are forward.

    Returns:
        How many episodes ended.
    """
    rng = np.random.default_rng(seed)
    n = env.n_envs
    assert len(python_envs) == n
    obs, ended = env.reset(seed), 0
    for i, python_env in enumerate(python_envs):
        # Gymnasium's own wrappers want a reset of theirs.
        python_env.reset(seed=0)
        _enter(python_env, draws_of(env, i))
        assert np.array_equal(obs[i].numpy(), _codes(python_env))
    returns = np.zeros(n)
    lengths = np.zeros(n, np.int64)
    for _ in range(steps):
        actions = rng.choice(3, size=n, p=(0.15, 0.15, 0.7))
        step = env.step(torch.from_numpy(actions))
        assert step.rewards.dtype == torch.float32
        ours = Transition._make(tensor.numpy() for tensor in step)
        for i, (python_env, action) in enumerate(zip(python_envs, actions.tolist(), strict=True)):
            codes, reward, terminated, truncated, info = python_env.step(action)
            returns[i] += float(reward)
            lengths[i] += 1
            # MiniGrid may say both in the last step.
            truncated = truncated and not terminated
            assert (ours.terminated[i], ours.truncated[i]) == (terminated, truncated)
            assert ours.rewards[i] == np.float32(reward)
            assert np.array_equal(ours.final_obs[i], codes)
            assert ours.episode_lengths[i] == lengths[i]
            assert abs(ours.episode_returns[i] - returns[i]) < 1e-6
            if terminated or truncated:
                ended += 1
                assert ours.is_success[i] == info["is_success"]
                said = env.task.info(step.final_places)
                assert {name: int(values[i]) for name, values in said.items()} == {
                    name: info[name] for name in ("corridor_length", "turns", "correct_turns") if name in info
                }
                _enter(python_env, draws_of(env, i))
                codes = _codes(python_env)
                returns[i] = lengths[i] = 0
            assert np.array_equal(ours.obs[i], codes)
    return ended


def _enter(env: gym.Env[Any, Any], draws: list[int]) -> None:
    base = base_of(env)
    # A fixed size or length isn't drawn.
    if getattr(base, "random_length", True) is False:
        draws = draws[1:]
    if getattr(base, "length_distribution", "") == "fixed":
        draws = draws[1::2]
    enter_level(base, draws)


def _codes(env: gym.Env[Any, Any]) -> np.ndarray:
    return np.asarray(base_of(env).gen_obs()["image"])
