"""Batched environments against the Python ones, step by step."""

from typing import Any

import gymnasium as gym
import pytest

from envs import CORRIDOR, ENDLESS_TMAZE, MEMORY, MiniGridCodes, make_env
from envs.batched import make_batched
from tests.envs.lockstep import assert_equal_in_lockstep

N_ENVS, STEPS = 8, 160


def _check(env_id: str, python_kwargs: dict[str, Any], **kwargs: Any) -> None:
    python_envs = [make_env(env_id, **{**kwargs, **python_kwargs}) for _ in range(N_ENVS)]
    assert assert_equal_in_lockstep(make_batched(env_id, N_ENVS, **kwargs), python_envs, STEPS) > 2


@pytest.mark.parametrize("view", [3, 5, 7, 9, 11])
@pytest.mark.parametrize(("size", "random_length"), [(7, False), (9, False), (13, True), (17, True), (21, False)])
def test_memory(size: int, random_length: bool, view: int) -> None:
    """Catches: a place of the tables that looks or acts unlike MiniGrid's, a wrong reward, a wrong end."""
    _check(MEMORY, {}, size=size, random_length=random_length, agent_view_size=view, max_steps=100)


@pytest.mark.parametrize("view", [3, 5, 7, 9, 11])
@pytest.mark.parametrize(("distribution", "longer"), [("uniform", 0), ("uniform", 3), ("log-uniform", 30)])
def test_corridor(view: int, distribution: str, longer: int) -> None:
    """Catches: an end seen from too far, or not from near enough, in corridors short and long."""
    # Both draw the same levels, but only whole numbers can be scripted.
    kwargs = {"min_length": view, "max_length": view + longer, "agent_view_size": view}
    _check(CORRIDOR, {"length_distribution": "uniform"}, length_distribution=distribution, **kwargs)


def test_corridor_with_all_arguments() -> None:
    """Catches: arguments that the batched version forgets."""
    colors = ("red", "green", "grey", "yellow")
    _check(CORRIDOR, {}, length_distribution="uniform", colors=colors, max_length=5, max_steps=15)
    _check(CORRIDOR, {}, length_distribution="uniform", max_length=5, see_through_walls=True)


@pytest.mark.parametrize("view", [3, 5, 7, 9, 11])
@pytest.mark.parametrize(("distribution", "longer"), [("uniform", 0), ("uniform", 15), ("fixed", 3)])
def test_endless_tmaze(view: int, distribution: str, longer: int) -> None:
    """Catches: a corridor that the last one's cue shows through, a turn miscounted, a cue that means the other way."""
    kwargs = {"min_length": view, "max_length": view + longer, "agent_view_size": view}
    _check(ENDLESS_TMAZE, {}, length_distribution=distribution, max_steps=120, **kwargs)


@pytest.mark.parametrize("env_id", [MEMORY, CORRIDOR, ENDLESS_TMAZE])
@pytest.mark.parametrize("max_steps", [1, 9])
def test_time_limit(env_id: str, max_steps: int) -> None:
    """Catches: an episode cut one step early or late, an end at the limit that counts as cut off, a wrong reset."""
    kwargs: dict[str, Any] = {"max_steps": max_steps, **({"size": 7} if env_id == MEMORY else {})}
    _check(env_id, {"length_distribution": "uniform"} if env_id == CORRIDOR else {}, **kwargs)


@pytest.mark.parametrize("env_id", ["MiniGrid-MemoryS13Random-v0", "MiniGrid-MemoryS9-v0"])
def test_registered_ids_against_minigrid_itself(env_id: str) -> None:
    """Catches: a batched version that equals our faster Python environment but not MiniGrid's own."""
    python_envs: list[gym.Env[Any, Any]] = [MiniGridCodes(gym.make(env_id), 3) for _ in range(N_ENVS)]
    assert assert_equal_in_lockstep(make_batched(env_id, N_ENVS), python_envs, 600) > 0
