"""The fast observation against MiniGrid's own."""

from typing import Any

import numpy as np
import pytest
from minigrid.envs import KeyCorridorEnv, MemoryEnv
from minigrid.minigrid_env import MiniGridEnv

from envs import CorridorEnv
from envs.view import FastKeyCorridorEnv, FastMemoryEnv, FastView


def _assert_same_observations(env: FastView, n_actions: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(steps):
        fast, slow = env.gen_obs(), MiniGridEnv.gen_obs(env)
        np.testing.assert_array_equal(fast["image"], slow["image"])
        assert fast["image"].dtype == slow["image"].dtype
        assert fast["image"].flags.c_contiguous
        assert (fast["direction"], fast["mission"]) == (slow["direction"], slow["mission"])
        *_, terminated, truncated, _ = env.step(int(rng.integers(n_actions)))
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize("view", [3, 5, 7, 11])
@pytest.mark.parametrize("see_through_walls", [False, True])
def test_same_as_minigrid(view: int, see_through_walls: bool) -> None:
    """Catches: a wrong turn, sight through a wall, a carried or moved object not seen, a door's state missed."""
    memory = FastMemoryEnv(size=13, random_length=True, agent_view_size=view, max_steps=40)
    keys = FastKeyCorridorEnv(num_rows=3, room_size=4, agent_view_size=view, max_steps=200)
    corridor = CorridorEnv(11, 15, agent_view_size=view, max_steps=40)
    for env, n_actions in ((memory, 3), (keys, 6), (corridor, 3)):
        env.see_through_walls = see_through_walls
        _assert_same_observations(env, n_actions, 150)


@pytest.mark.parametrize(
    ("fast", "slow", "kwargs"),
    [(FastMemoryEnv, MemoryEnv, {"size": 9}), (FastKeyCorridorEnv, KeyCorridorEnv, {"room_size": 3})],
)
def test_same_episodes_as_minigrid(fast: type[Any], slow: type[Any], kwargs: dict[str, Any]) -> None:
    """Catches: a subclass that changes levels, rewards or ends."""
    ours, theirs = fast(**kwargs), slow(**kwargs)
    for seed in range(20):
        np.testing.assert_array_equal(ours.reset(seed=seed)[0]["image"], theirs.reset(seed=seed)[0]["image"])
        for action in np.random.default_rng(seed).integers(3, size=60).tolist():
            (observation, *rest), (expected, *expected_rest) = ours.step(action), theirs.step(action)
            np.testing.assert_array_equal(observation["image"], expected["image"])
            assert rest == expected_rest
            if rest[1]:
                break


@pytest.mark.parametrize("random_length", [False, True])
@pytest.mark.parametrize("size", [7, 9, 13, 17, 33])
def test_same_levels_as_minigrid(size: int, random_length: bool) -> None:
    """Catches: a wall too many or too few anywhere, draws in another order or more of them, an object in the shared
    walls that another episode then finds."""
    ours, theirs = (make(size=size, random_length=random_length) for make in (FastMemoryEnv, MemoryEnv))
    ours.reset(seed=0)
    theirs.reset(seed=0)
    for _ in range(60):
        assert ours.grid == theirs.grid
        assert (*ours.agent_pos, ours.agent_dir) == (*theirs.agent_pos, theirs.agent_dir)
        assert (ours.success_pos, ours.failure_pos) == (theirs.success_pos, theirs.failure_pos)
        assert ours.np_random.bit_generator.state == theirs.np_random.bit_generator.state
        ours.reset()
        theirs.reset()
