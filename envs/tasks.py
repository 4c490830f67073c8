"""The tasks: how to make each, what it demands of a memory, and the levels of those that have few."""

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator
from minigrid.core.mission import MissionSpace
from minigrid.envs.keycorridor import KeyCorridorEnv
from minigrid.envs.memory import MemoryEnv
from minigrid.minigrid_env import MiniGridEnv

from envs.corridor import CorridorEnv
from envs.endless_tmaze import EndlessTMazeEnv
from envs.faults import close
from envs.suites import suite_of_id, suite_of_spec
from envs.wrappers import MiniGridCodes

CORRIDOR = "ExpireSpan/Corridor-v0"
ENDLESS_TMAZE = "ExpireSpan/EndlessTMaze-v0"
MEMORY = "ExpireSpan/Memory-v0"
"""MiniGrid's Memory task of any size, with the faster observation."""
CART_POLE_NO_VELOCITY = "ExpireSpan/CartPoleNoVelocity-v0"
PENDULUM_NO_VELOCITY = "ExpireSpan/PendulumNoVelocity-v0"

# Left, right and forward are MiniGrid's first three; its drop comes between pickup and toggle, and KeyCorridor
# can't be solved without it: who carries the key can't pick up the ball.
_THREE_ACTIONS, _ALL_BUT_DONE = 3, 6

# The same tasks with a faster observation; by name, as Gymnasium's specifications are kept.
_FASTER: Mapping[Any, str] = {
    MemoryEnv: "envs.view:FastMemoryEnv",
    KeyCorridorEnv: "envs.view:FastKeyCorridorEnv",
}


@dataclass(frozen=True)
class Task:
    """A task, and what it takes to be one for a memory."""

    env_id: str
    """Gymnasium's id."""
    title: str
    """A few words for tables and plots."""
    demands: str
    """One sentence: what the task demands of a memory."""
    kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Arguments for `make_env` that make `demands` true; `make_env` doesn't add them by itself."""
    n_levels: int | None = None
    """Distinct levels (grid, start and direction), None where they are too many to evaluate each."""


_VIEW_3 = MappingProxyType({"agent_view_size": 3})
_SMALL_ROOM = (
    "With a view of 3: carry one object from the start room to a junction {} columns on; the default view of 7 "
    "sees cue and target at once from some cells, so success with it proves nothing about memory."
)
_KEYS = (
    "Explore {}, find the key, carry it to the locked door, drop it and pick up the ball behind; a memory of "
    "what was searched helps, but what is carried is always in view, so success alone proves no memory."
)

TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.env_id: task
        for task in (
            Task(
                CORRIDOR,
                "Corridor",
                "Keep one colour for as many steps as the corridor is long (3 to 100, log-uniform by default), "
                "while nothing else in it needs remembering: the span must reach as far as the doors.",
            ),
            Task(
                ENDLESS_TMAZE,
                "Endless T-Maze",
                "Keep the present corridor's cue to its end (3 to 20 steps by default) and drop it there, for the "
                "next corridor's cancels it: what isn't forgotten misleads.",
            ),
            Task("MiniGrid-MemoryS7-v0", "Memory S7, view 3", _SMALL_ROOM.format(4), _VIEW_3, 16),
            Task("MiniGrid-MemoryS9-v0", "Memory S9, view 3", _SMALL_ROOM.format(6), _VIEW_3, 24),
            Task(
                "MiniGrid-MemoryS11-v0",
                "Memory S11",
                "Carry one object from the start room to a junction 8 columns on; no cell shows cue and target at "
                "once, and the agent must first turn back to look at the cue.",
                n_levels=32,
            ),
            Task(
                "MiniGrid-MemoryS13-v0",
                "Memory S13",
                "Carry one object from the start room to a junction 10 columns on; no cell shows cue and target at "
                "once, and rushing to a target is right half the time, which hides that looking back pays.",
                n_levels=40,
            ),
            Task(
                "MiniGrid-MemoryS13Random-v0",
                "Memory S13Random, view 3",
                "With a view of 3: carry one object down a hallway of random length; with the default view of 7, "
                "3 of its 7 lengths have cells that show cue and target at once.",
                _VIEW_3,
            ),
            Task(
                "MiniGrid-MemoryS17Random-v0",
                "Memory S17Random, view 3",
                "With a view of 3: carry one object down a hallway of random length, up to 14 columns; with the "
                "default view of 7, 3 of its 11 lengths have cells that show cue and target at once.",
                _VIEW_3,
            ),
            Task(
                MEMORY,
                "Memory of any size",
                "Carry one object down a hallway of random length, up to 30 columns (its size, an odd number, less 3); "
                "3 of these 27 lengths have cells that show cue and target at once.",
                MappingProxyType({"size": 33, "random_length": True, "max_steps": 400}),
            ),
            Task("MiniGrid-KeyCorridorS3R1-v0", "KeyCorridor S3R1", _KEYS.format("two rooms of one cell")),
            Task("MiniGrid-KeyCorridorS3R2-v0", "KeyCorridor S3R2", _KEYS.format("four rooms of one cell")),
            Task("MiniGrid-KeyCorridorS3R3-v0", "KeyCorridor S3R3", _KEYS.format("six rooms of one cell")),
            Task(
                CART_POLE_NO_VELOCITY,
                "CartPole without velocities",
                "Balance a pole by position and angle alone: how fast they change shows only against the steps "
                "before, so a memory of a few steps is enough and none at all is too little.",
            ),
            Task(
                PENDULUM_NO_VELOCITY,
                "Pendulum without velocity",
                "Swing a pendulum up by the cosine and sine of its angle alone: which way it swings, and how fast, "
                "shows only against the steps before, so a memory of a few steps is enough.",
            ),
        )
    }
)


def make_env(env_id: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """Make an environment as the agents read it.

    Corridor, Endless T-Maze and MiniGrid's Memory tasks get `Discrete(3)` (left, right, forward); KeyCorridor
    gets `Discrete(6)` (those, pickup, drop, toggle: with the key in hand the ball can't be picked up, so drop
    is needed); other MiniGrid tasks whose mission never changes keep all their actions. All of these are
    observed as image codes, `Box(0, 10, (view, view, 3), uint8)`, and have `is_success` in the last step's
    `info`. Gymnasium's passive checks are left out there, for speed.

    POPGym's and Memory Gym's ids find their packages by themselves, and have flat spaces; where POPGym marks a
    task as one that needs it, the previous action is part of the observation. Memory Gym's episodes have
    `is_success`, except the endless ones.

    Any other id is what `gymnasium.make` gives, MiniGrid tasks whose mission says what to do among them:
    dropping the text would make them unsolvable.

    Args:
        env_id: Gymnasium's id, with its version; `module:id` imports the module first.
        **kwargs: Arguments of the environment (`agent_view_size`, `render_mode`, …) or of `gymnasium.make`
            (`max_episode_steps`).

    Raises:
        ValueError: If the id or the name of an argument is unknown (with near misses), a value isn't allowed, or the
            suite that the id is of isn't installed.
    """
    spec = _find_spec(env_id)
    _check_kwargs(spec, kwargs)
    # No wrapper that checks the order of calls either: it costs as much as ours, and our callers keep the order.
    is_minigrid = _is_minigrid(spec)
    if is_minigrid:
        faster = _FASTER.get(_creator(spec), spec.entry_point)
        spec = replace(spec, entry_point=faster, order_enforce=False, disable_env_checker=True)
    suite = suite_of_spec(spec)
    try:
        env = gym.make(spec, **kwargs) if suite is None else suite.make(spec, **kwargs)
    except (TypeError, AssertionError) as error:
        reason = " ".join(str(error).split()) or "a value is out of its range"
        raise ValueError(f"{env_id} can't be made with {kwargs}: {reason}") from error
    base = env.unwrapped
    if isinstance(base, CorridorEnv | EndlessTMazeEnv | MemoryEnv):
        return MiniGridCodes(env, _THREE_ACTIONS)
    if isinstance(base, KeyCorridorEnv):
        return MiniGridCodes(env, _ALL_BUT_DONE)
    if isinstance(base, MiniGridEnv) and _mission_is_constant(base):
        return MiniGridCodes(env, len(base.actions))
    return env


def levels(env_id: str, **kwargs: Any) -> list[int] | None:
    """One seed for each distinct level of a Memory task of fixed size, else None.

    A level is the grid, the agent's start and its direction. Seeds are scanned from 0 on, until 20 times as
    many seeds as levels found have been tried, and at least 200: levels are drawn with equal chances, so one of
    40 then goes unseen with a probability of (39/40)^800, about 2e-9.

    Args:
        env_id: Gymnasium's id: 24 seeds for MiniGrid-MemoryS9-v0, 40 for MiniGrid-MemoryS13-v0.
        **kwargs: As for `make_env`.

    Returns:
        The smallest seed of each level, ascending; `env.reset(seed=seed)` gives the level.

    Raises:
        ValueError: As `make_env`.
    """
    env = make_env(env_id, **(kwargs | {"render_mode": None} if "render_mode" in kwargs else kwargs))
    base = env.unwrapped
    if not isinstance(base, MemoryEnv) or base.random_length:
        close(env, env_id)
        return None
    seeds: dict[tuple[bytes, tuple[int, ...], int], int] = {}
    seed = 0
    while seed < max(200, 20 * len(seeds)):
        env.reset(seed=seed)
        level = base.grid.encode().tobytes(), tuple(int(x) for x in base.agent_pos), int(base.agent_dir)
        seeds.setdefault(level, seed)
        seed += 1
    close(env, env_id)
    return list(seeds.values())


def _find_spec(env_id: str) -> EnvSpec:
    module, _, name = env_id.rpartition(":")
    suite = suite_of_id(name)
    if suite is not None and module in ("", suite.module):
        suite.load()
    elif module:
        try:
            importlib.import_module(module)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
                raise ValueError(
                    f"no module {module!r} to import for the environment {env_id!r}; {_where_to_look(module, name)}"
                ) from error
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"importing {module!r} for the environment {env_id!r} failed: {said}") from error
    spec = gym.registry.get(name)
    if spec is None:
        near = _near_misses(name, TASKS) or _near_misses(name, gym.registry)
        known = f"for instance {', '.join(TASKS)}; one of your own is MODULE:ID, of the module that registers it"
        hint = f"did you mean {' or '.join(near)}?" if near else known
        raise ValueError(f"no environment {name!r}; {hint}")
    return spec


def _where_to_look(module: str, name: str) -> str:
    """What to try where a module isn't found."""
    if module.endswith(".py"):
        return f"leave out .py: {module.removesuffix('.py')}:{name}"
    here = os.getcwd()
    folder = f"the working directory, {here}, and in " if {"", here} & set(sys.path) else ""
    return f"looked for in {folder}the folders of installed packages"


def _near_misses(name: str, known: Iterable[str]) -> list[str]:
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=3)
    # `corridor` is near no full id, but part of one.
    near = near or [known for known in by_lower_case if name and name.lower() in known][:3]
    return [by_lower_case[match] for match in near]


def _creator(spec: EnvSpec) -> Callable[..., Any]:
    entry_point: Any = spec.entry_point
    return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


def _is_minigrid(spec: EnvSpec) -> bool:
    creator = _creator(spec)
    return isinstance(creator, type) and issubclass(creator, MiniGridEnv)


def _mission_is_constant(env: MiniGridEnv) -> bool:
    space = env.observation_space
    mission = space["mission"] if isinstance(space, gym.spaces.Dict) else None
    return isinstance(mission, MissionSpace) and not mission.ordered_placeholders


def _check_kwargs(spec: EnvSpec, kwargs: Mapping[str, Any]) -> None:
    known = _parameter_names(_creator(spec))
    if known is not None:
        known |= {"max_episode_steps", "disable_env_checker"}
        for name in kwargs.keys() - known:
            near = _near_misses(name, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(sorted(known))}"
            raise ValueError(f"{spec.id} has no argument {name!r}; {hint}")
    if not _is_minigrid(spec):
        return
    # MiniGrid only asserts these, some of them no sooner than at a reset, and without saying what.
    view = kwargs.get("agent_view_size", 3)
    if not isinstance(view, int) or view < 3 or view % 2 == 0:
        raise ValueError(f"agent_view_size must be odd and at least 3, not {view!r}")
    size = kwargs.get("size", 7)
    if issubclass(_class(spec), MemoryEnv) and (not isinstance(size, int) or size < 7 or size % 2 == 0):
        raise ValueError(f"size of a Memory task must be odd and at least 7, not {size!r}")


def _class(spec: EnvSpec) -> type:
    creator = _creator(spec)
    return creator if isinstance(creator, type) else object


def _parameter_names(creator: Callable[..., Any]) -> set[str] | None:
    """Names that a creator takes, through the `**kwargs` of its base classes; None if it takes any name."""
    functions: list[Any] = [creator]
    if isinstance(creator, type):
        functions = [vars(base)["__init__"] for base in creator.__mro__[:-1] if "__init__" in vars(base)]
    names: set[str] = set()
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names - {"self"}
    return None
