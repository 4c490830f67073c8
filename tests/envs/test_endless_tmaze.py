"""The Endless T-Maze itself: layout, turns, cues, ends, arguments."""

import re
from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.world_object import Ball, Door

from envs import ENDLESS_TMAZE, EndlessTMazeEnv, make_env
from envs.endless_tmaze import CUE_COLORS
from envs.oracles import FORWARD, LEFT, RIGHT, oracle, play
from tests.envs.conformance import base_of
from tests.envs.views import sees


def _go(env: EndlessTMazeEnv, turn: int) -> tuple[float, dict[str, Any]]:
    """Walk to the doors and through one; reward and info of the last step."""
    for _ in range(env.length):
        assert env.step(FORWARD)[1:4] == (-0.01, False, False)
    assert env.step(turn)[1] == -0.01
    _, reward, terminated, truncated, info = env.step(FORWARD)
    assert not terminated
    assert not truncated
    return float(reward), info


def test_layout_of_each_corridor() -> None:
    """Catches: a next corridor with remains of the last one, an off-by-one, exits that tell the way."""
    env = EndlessTMazeEnv(max_length=12)
    env.reset(seed=0)
    lengths = set()
    for _ in range(40):
        lengths.add(env.length)
        assert (env.width, env.height) == (env.length + 3, 5)
        assert (env.agent_pos, env.agent_dir) == ((1, 2), 0)
        cells = [(x, y) for y in range(5) for x in range(env.width)]
        things = {cell: thing for cell in cells if (thing := env.grid.get(*cell)) and thing.type != "wall"}
        assert set(things) == {(1, 1), (1 + env.length, 1), (1 + env.length, 3)}
        cue = things.pop((1, 1))
        assert isinstance(cue, Ball)
        assert cue.color == CUE_COLORS[env.cue]
        assert all(isinstance(door, Door) and door.color == "grey" for door in things.values())
        free = [cell for cell in cells if env.grid.get(*cell) is None]
        assert free == [(x, 2) for x in range(1, 2 + env.length)]
        _go(env, LEFT)
    assert lengths == set(range(3, 13))


@pytest.mark.parametrize("right", [True, False])
def test_turns(right: bool) -> None:
    """Catches: a cue that means the other way, a cue of the last corridor that counts, an end at a turn."""
    env = EndlessTMazeEnv(max_length=6)
    env.reset(seed=1)
    for _ in range(30):
        turn = (LEFT, RIGHT)[env.cue] if right else (RIGHT, LEFT)[env.cue]
        reward, info = _go(env, turn)
        assert reward == (1.0 if right else -1.0)
        assert info == {"corridor_length": env.length}


def test_walls_and_start_are_moves() -> None:
    """Catches: a free step at a wall, an exit at the start."""
    env = EndlessTMazeEnv()
    env.reset(seed=0)
    for action in (LEFT, FORWARD, LEFT, FORWARD, LEFT, FORWARD):
        assert env.step(action)[1:4] == (-0.01, False, False)
    assert env.agent_pos == (1, 2)


@pytest.mark.parametrize("mistakes", [0, 1])
def test_the_end(mistakes: int) -> None:
    """Catches: success with a wrong turn, counts that live on, an end that isn't a truncation."""
    env = EndlessTMazeEnv(3, 3, max_steps=15)
    for seed in range(5):
        env.reset(seed=seed)
        for k in range(3):
            wrong = k < mistakes
            for action in (*[FORWARD] * 3, (LEFT, RIGHT)[env.cue ^ wrong]):
                env.step(action)
            _, reward, terminated, truncated, info = env.step(FORWARD)
            assert reward == (-1.0 if wrong else 1.0)
            assert (terminated, truncated) == (False, k == 2)
        assert info == {"corridor_length": 3, "turns": 3, "correct_turns": 3 - mistakes, "is_success": not mistakes}


def test_no_turn_is_no_success() -> None:
    """Catches: an agent that stands still and succeeds, for all of no turns were right."""
    env = EndlessTMazeEnv(max_steps=2)
    env.reset(seed=0)
    assert "is_success" not in env.step(LEFT)[4]
    assert env.step(LEFT)[4] == {"corridor_length": env.length, "turns": 0, "correct_turns": 0, "is_success": False}


def test_lengths_and_cues_are_uniform() -> None:
    """Catches: the longest or shortest length never drawn, a side that is right more often. Fixed seed."""
    env = EndlessTMazeEnv(3, 7, max_steps=10**6)
    env.reset(seed=0)
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(4000):
        _go(env, RIGHT)
        counts[env.length, env.cue] += 1
    assert len(counts) == 10
    assert max(abs(count - 400) for count in counts.values()) < 3.5 * np.sqrt(400 * 0.9)


def test_fixed_length() -> None:
    """Catches: a fixed length that is the shortest."""
    env = EndlessTMazeEnv(3, 9, "fixed")
    env.reset(seed=0)
    for _ in range(10):
        assert env.length == 9
        _go(env, LEFT)


@pytest.mark.parametrize("view", [3, 5, 7, 9])
def test_no_place_shows_cue_and_door_at_once(view: int) -> None:
    """Catches: a corridor so short that no memory is needed. All places and directions, shortest lengths."""
    for length in range(view, view + 3):
        env = EndlessTMazeEnv(length, length, agent_view_size=view)
        env.reset(seed=0)
        assert sees(env, [(1, 1)], [(1 + length, 1), (1 + length, 3)]) == []


def test_oracle_never_loses_a_step() -> None:
    """Catches: an oracle that's no upper bound: length + 2 steps a corridor, all turns right."""
    env = make_env(ENDLESS_TMAZE, min_length=5, max_length=5, max_steps=70)
    episode = play(env, oracle, 0)
    assert (episode.info["turns"], episode.info["correct_turns"]) == (10, 10)
    assert episode.reward == pytest.approx(10 - 60 * 0.01)


def test_renders_at_every_length() -> None:
    """Catches: a frame of the last corridor's width, or the agent drawn outside it."""
    env = EndlessTMazeEnv(max_length=40, render_mode="rgb_array", tile_size=8)
    env.reset(seed=0)
    for _ in range(5):
        frame = env.render()
        assert frame is not None
        assert frame.shape == (5 * 8, (env.length + 3) * 8, 3)
        _go(env, LEFT)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"min_length": 2}, "min_length must be at least agent_view_size (3)"),
        ({"agent_view_size": 5}, "min_length must be at least agent_view_size (5)"),
        ({"agent_view_size": 4}, "agent_view_size must be odd and at least 3, not 4"),
        ({"max_length": 2}, "max_length must be at least min_length (3), not 2"),
        ({"length_distribution": "log-uniform"}, 'must be "uniform" or "fixed", not \'log-uniform\''),
        ({"max_steps": 0}, "max_steps must be at least 1"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], message: str) -> None:
    """Catches: a task that is made all the same and is not what was asked for."""
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        gym.make(ENDLESS_TMAZE, **kwargs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("action", [-1, 3, 5])
def test_unknown_actions_are_refused(action: int) -> None:
    """Catches: MiniGrid's pickup, which would take the cue out of the wall."""
    env = make_env(ENDLESS_TMAZE)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be 0"):
        base_of(env).step(action)
