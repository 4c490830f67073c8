"""The Corridor itself: layout, lengths, ends, arguments, speed of a reset."""

import math
import re
from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.world_object import Ball, Door, Wall

from envs import CORRIDOR, CorridorEnv
from envs.oracles import FORWARD, LEFT, RIGHT
from tests.envs.views import sees


def _walk_to_the_doors(env: CorridorEnv) -> None:
    for _ in range(env.length):
        _, reward, terminated, truncated, info = env.step(FORWARD)
        assert (reward, terminated, truncated, info) == (0.0, False, False, {"corridor_length": env.length})


def test_layout() -> None:
    """Catches: an off-by-one in the corridor, a cue or door out of place, a leak past the doors."""
    env = CorridorEnv(max_length=30, colors=tuple(COLOR_NAMES))
    for seed in range(50):
        _, info = env.reset(seed=seed)
        length = info["corridor_length"]
        assert (env.width, env.height) == (length + 3, 5)
        assert (env.agent_pos, env.agent_dir) == ((1, 2), 0)
        doors = [env.grid.get(1 + length, y) for y in (1, 3)]
        assert all(isinstance(door, Door) for door in doors)
        cue = env.grid.get(1, 1)
        assert isinstance(cue, Ball)
        assert cue.color == env.cue_color
        colors = [door.color for door in doors if door is not None]
        assert colors.count(cue.color) == 1
        free = [(x, y) for y in range(5) for x in range(env.width) if env.grid.get(x, y) is None]
        assert free == [(x, 2) for x in range(1, 2 + length)]
        walls = sum(isinstance(cell, Wall) for cell in env.grid.grid)
        assert walls == 5 * env.width - len(free) - 3


@pytest.mark.parametrize("take_the_right_door", [True, False])
def test_doors_end_the_episode(take_the_right_door: bool) -> None:
    """Catches: a reward at either door, an end before the step into one, a wall that ends the episode."""
    env = CorridorEnv(max_length=12, colors=("green", "grey", "purple"))
    for seed in range(30):
        env.reset(seed=seed)
        _walk_to_the_doors(env)
        assert env.step(FORWARD)[1:4] == (0.0, False, False)
        north = env.grid.get(1 + env.length, 1)
        assert north is not None
        right_is_north = north.color == env.cue_color
        env.step(LEFT if right_is_north == take_the_right_door else RIGHT)
        _, reward, terminated, truncated, info = env.step(FORWARD)
        assert (reward, terminated, truncated) == (float(take_the_right_door), True, False)
        assert info == {"corridor_length": env.length, "is_success": take_the_right_door}


def test_a_door_on_the_last_step_counts() -> None:
    """Catches: success at the time limit reported as a time-out, which a learner would bootstrap from."""
    env = CorridorEnv(min_length=3, max_length=3, max_steps=5)
    env.reset(seed=0)
    _walk_to_the_doors(env)
    north = env.grid.get(4, 1)
    assert north is not None
    env.step(LEFT if north.color == env.cue_color else RIGHT)
    assert env.step(FORWARD)[1:4] == (1.0, True, False)


def test_time_limit() -> None:
    """Catches: a limit that follows the episode's length and so tells it; a step without `corridor_length`."""
    env = CorridorEnv(max_length=20)
    assert env.max_steps == 100
    _, info = env.reset(seed=0)
    for _ in range(99):
        assert env.step(LEFT)[4] == {"corridor_length": env.length}
    _, reward, terminated, truncated, last = env.step(LEFT)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert last == {"corridor_length": info["corridor_length"], "is_success": False}


def _probabilities(low: int, high: int, distribution: str) -> np.ndarray:
    lengths = np.arange(low, high + 1)
    if distribution == "uniform":
        return np.full(len(lengths), 1 / len(lengths))
    return np.log((lengths + 1) / lengths) / math.log((high + 1) / low)


def _assert_counts(counts: list[int], expected: np.ndarray) -> None:
    deviation = np.sqrt(expected * (1 - expected / expected.sum()))
    assert np.all(np.abs(np.array(counts) - expected) < 3.5 * deviation)


@pytest.mark.parametrize("distribution", ["log-uniform", "uniform"])
def test_length_distribution(distribution: str) -> None:
    """Catches: the longest or shortest length never drawn, or drawn twice as often. Fixed seed."""
    env = CorridorEnv(min_length=3, max_length=12, length_distribution=distribution)
    env.reset(seed=0)
    counts = Counter(env.reset()[1]["corridor_length"] for _ in range(5000))
    assert set(counts) == set(range(3, 13))
    expected = 5000 * _probabilities(3, 12, distribution)
    _assert_counts([counts[length] for length in range(3, 13)], expected)


def test_colors_and_sides_are_balanced() -> None:
    """Catches: a colour or a side that is right more often than the others. Fixed seed."""
    colors = ("red", "yellow", "grey")
    env = CorridorEnv(max_length=5, colors=colors)
    env.reset(seed=0)
    outcomes: Counter[tuple[str, str, bool]] = Counter()
    for _ in range(6000):
        env.reset()
        north, south = (env.grid.get(1 + env.length, y) for y in (1, 3))
        assert north is not None
        assert south is not None
        right_is_north = north.color == env.cue_color
        outcomes[env.cue_color, south.color if right_is_north else north.color, right_is_north] += 1
    assert len(outcomes) == 12
    _assert_counts(list(outcomes.values()), np.full(12, 500.0))


@pytest.mark.parametrize("view", [3, 5, 7, 9])
@pytest.mark.parametrize("see_through_walls", [False, True])
def test_no_place_shows_cue_and_door_at_once(view: int, see_through_walls: bool) -> None:
    """Catches: a corridor so short that no memory is needed. All places and directions, shortest lengths."""
    for length in range(view, view + 3):
        env = CorridorEnv(length, length, agent_view_size=view, see_through_walls=see_through_walls)
        env.reset(seed=0)
        assert sees(env, [(1, 1)], [(1 + length, 1), (1 + length, 3)]) == []


def test_the_bound_on_min_length_is_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a check above that can't fail. One cell shorter, and cue and door are seen at once."""
    monkeypatch.setattr("envs.corridor._check_arguments", lambda *_: None)
    env = CorridorEnv(2, 2, agent_view_size=3)
    env.reset(seed=0)
    assert sees(env, [(1, 1)], [(3, 1), (3, 3)])


def test_cue_is_seen_at_the_start() -> None:
    """Catches: an agent that must turn back before it can know the cue."""
    for view in (3, 7):
        env = CorridorEnv(7, 30, agent_view_size=view)
        observation, _ = env.reset(seed=3)
        assert tuple(observation["image"][view // 2 - 1, view - 1]) == Ball(env.cue_color).encode()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"min_length": 2}, "min_length must be at least agent_view_size (3)"),
        ({"agent_view_size": 5}, "min_length must be at least agent_view_size (5)"),
        ({"agent_view_size": 4}, "agent_view_size must be odd and at least 3, not 4"),
        ({"agent_view_size": 1}, "agent_view_size must be odd and at least 3, not 1"),
        ({"max_length": 2}, "max_length must be at least min_length (3), not 2"),
        ({"length_distribution": "normal"}, 'must be "log-uniform" or "uniform", not \'normal\''),
        ({"colors": ("red",)}, "colors must be two or more different ones of"),
        ({"colors": ("red", "red")}, "colors must be two or more different ones of"),
        ({"colors": ("red", "pink")}, "colors must be two or more different ones of"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], message: str) -> None:
    """Catches: a task that is made all the same and is not what was asked for."""
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        gym.make(CORRIDOR, **kwargs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("action", [-1, 3, 5])
def test_unknown_actions_are_refused(action: int) -> None:
    """Catches: MiniGrid's pickup, which would take the cue out of the wall."""
    env = CorridorEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be 0"):
        env.step(action)


def test_renders_at_every_length() -> None:
    """Catches: a frame of the last episode's width, or the agent drawn outside it."""
    env = CorridorEnv(max_length=40, render_mode="rgb_array", tile_size=8)
    for seed in range(5):
        env.reset(seed=seed)
        frame = env.render()
        assert frame is not None
        assert frame.shape == (5 * 8, (env.length + 3) * 8, 3)
