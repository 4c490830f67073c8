"""Scripted policies: oracles that score 1.0 on every task, and controls that see only the present.

A policy maps one observation of `make_env`'s environment to an action and serves one episode. The oracles of
Corridor, Endless T-Maze and Memory tasks read observations alone and keep their own memory, in a generator's
local variables; any view size will do. KeyCorridor's plans on the true grid (`envs.key_corridor`), so it is no
bound for an agent that must search. A control looks at the current observation only: what it scores is chance.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.envs.keycorridor import KeyCorridorEnv
from minigrid.envs.memory import MemoryEnv

from envs.corridor import CorridorEnv
from envs.endless_tmaze import CUE_COLORS, EndlessTMazeEnv
from envs.key_corridor import KeyCorridorPlanner
from envs.wrappers import Codes

Policy = Callable[[Codes], int]
"""The action for an observation; call it once a step."""

LEFT, RIGHT, FORWARD = range(3)
_EMPTY, _BALL, _KEY, _DOOR = (OBJECT_TO_IDX[name] for name in ("empty", "ball", "key", "door"))

_KNOWN = "Corridor, Endless T-Maze, Memory and KeyCorridor"

# What a generator yields is the action, what it's sent is the observation that follows.
_Script = Generator[int, Codes, None]


class Episode(NamedTuple):
    """How one episode went."""

    success: bool
    steps: int
    reward: float
    """Sum over the episode, undiscounted."""
    info: dict[str, Any]
    """The last step's."""


def oracle(env: gym.Env[Codes, int]) -> Policy:
    """The oracle for an episode of `make_env`'s environment `env`, fresh from `reset`.

    Raises:
        ValueError: If there is none for this environment.
    """
    base = env.unwrapped
    if isinstance(base, CorridorEnv):
        return _Scripted(_corridor_script)
    if isinstance(base, EndlessTMazeEnv):
        return _Scripted(_endless_tmaze_script)
    if isinstance(base, MemoryEnv):
        return _Scripted(_memory_script)
    if isinstance(base, KeyCorridorEnv):
        planner = KeyCorridorPlanner(base)
        return lambda _: planner.action()
    raise ValueError(f"no oracle for {type(base).__name__}; there is one for {_KNOWN}")


def memoryless_control(env: gym.Env[Codes, int], seed: int = 0) -> Policy:
    """A policy for `env` whose action depends on the current observation alone (and on `seed`).

    In Corridor, Endless T-Maze and Memory tasks it walks to the end and takes what is on the left, right half
    the time. In KeyCorridor it acts at random, uniformly.

    Raises:
        ValueError: If there is none for this environment.
    """
    base = env.unwrapped
    if isinstance(base, CorridorEnv | EndlessTMazeEnv | MemoryEnv):
        return lambda codes: FORWARD if _ahead(codes)[0] in (_EMPTY, _DOOR) else LEFT
    if isinstance(base, KeyCorridorEnv):
        random = np.random.default_rng(seed)
        return lambda _: int(random.integers(6))
    raise ValueError(f"no control for {type(base).__name__}; there is one for {_KNOWN}")


def play(env: gym.Env[Codes, int], make_policy: Callable[[gym.Env[Codes, int]], Policy], seed: int) -> Episode:
    """Play the episode that `seed` gives, with a fresh policy."""
    codes, _ = env.reset(seed=seed)
    policy = make_policy(env)
    steps, total = 0, 0.0
    while True:
        codes, reward, terminated, truncated, info = env.step(policy(codes))
        steps += 1
        total += float(reward)
        if terminated or truncated:
            return Episode(bool(info["is_success"]), steps, total, info)


class _Scripted:
    """A policy from a generator that takes the first observation and yields actions."""

    def __init__(self, script: Callable[[Codes], _Script]) -> None:
        self._start = script
        self._script: _Script | None = None

    def __call__(self, codes: Codes) -> int:
        if self._script is None:
            self._script = self._start(codes)
            return next(self._script)
        return self._script.send(codes)


def _corridor_script(codes: Codes) -> _Script:
    """The cue is on the left at the start; at the end, take the door of its colour."""
    cue_color = _beside(codes, left=True)[1]
    while _ahead(codes)[0] == _EMPTY:
        codes = yield FORWARD
    yield LEFT if _beside(codes, left=True)[1] == cue_color else RIGHT
    yield FORWARD


def _endless_tmaze_script(codes: Codes) -> _Script:
    """In each corridor, the cue on the left at the start says which door to take at the end."""
    while True:
        turn = LEFT if _beside(codes, left=True)[1] == COLOR_TO_IDX[CUE_COLORS[0]] else RIGHT
        while _ahead(codes)[0] == _EMPTY:
            codes = yield FORWARD
        yield turn
        codes = yield FORWARD


def _memory_script(codes: Codes) -> _Script:
    """Turn back west until the cue is in view, go to the junction, and there to the object of its kind.

    Looking west first matters: facing east, an object in view may be a target. The targets lie two cells off
    the junction, where a view of 3 shows them only from the junction and facing them.
    """
    yield LEFT
    codes = yield LEFT
    while not (kinds := _objects(codes)):
        codes = yield FORWARD
    cue = kinds[0]
    yield LEFT
    codes = yield LEFT
    while _ahead(codes)[0] == _EMPTY:
        codes = yield FORWARD
    codes = yield LEFT
    if _ahead(codes, distance=2)[0] != cue:
        yield LEFT
        yield LEFT
    yield FORWARD


def _ahead(codes: Codes, distance: int = 1) -> tuple[int, int]:
    """Object and colour codes of the cell `distance` steps ahead."""
    view = codes.shape[0]
    return int(codes[view // 2, view - 1 - distance, 0]), int(codes[view // 2, view - 1 - distance, 1])


def _beside(codes: Codes, left: bool) -> tuple[int, int]:
    """Object and colour codes of the cell beside the agent."""
    view = codes.shape[0]
    cell = codes[view // 2 + (-1 if left else 1), view - 1]
    return int(cell[0]), int(cell[1])


def _objects(codes: Codes) -> list[int]:
    """Object codes of the keys and balls in view."""
    kinds = codes[..., 0]
    return [int(kind) for kind in kinds[(kinds == _BALL) | (kinds == _KEY)]]
