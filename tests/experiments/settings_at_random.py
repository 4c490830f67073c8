"""Settings of a training drawn at random: mostly good, one or two that aren't; sizes stay small."""

import dataclasses
from typing import Any, get_args

from hypothesis import strategies as st

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.settings import kinds

WORDS = st.sampled_from(["", "x", "-", "None", "../..", "nan", "a=b", "ä ö", "\n", "cuda:99", "module:Env-v0"])
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([-1, 0, 1, 2, 3, 7, 1e-30, 1e30, float("nan"), float("inf"), -0.5, 1.5]),
    WORDS,
    st.none(),
    st.booleans(),
    st.lists(st.one_of(st.integers(-2, 9), WORDS), max_size=3),
    st.dictionaries(WORDS, st.integers(0, 3), max_size=2),
)
"""What a file may have in any setting's place."""

_ENVS = [
    ("MiniGrid-MemoryS7-v0", ["agent_view_size=3", "max_steps=20"]),
    ("ExpireSpan/Corridor-v0", ["max_length=6"]),
    ("ExpireSpan/EndlessTMaze-v0", []),
    ("CartPole-v1", ["max_episode_steps=20"]),
    ("Pendulum-v1", []),
]
_SMALL: dict[str, st.SearchStrategy[Any]] = {
    "dim": st.sampled_from([8, 16, 24]),
    "depth": st.integers(1, 3),
    "heads": st.sampled_from([1, 2, 4]),
    "slots": st.integers(0, 20),
    "seq_len": st.integers(1, 70),
    "max_span": st.floats(0.5, 300),
    "ramp_length": st.floats(0.5, 30),
    "n_envs": st.integers(1, 4),
    "n_workers": st.none() | st.integers(1, 2),
    "n_steps": st.integers(1, 40),
    "segment_length": st.none() | st.integers(1, 8),
    "batch_size": st.integers(1, 100),
    "n_epochs": st.integers(1, 2),
    "net_arch": st.none() | st.lists(st.integers(1, 16), max_size=2),
    # Processes and threads of others would take most of the time.
    "vec_env": st.sampled_from(["serial", "batched"]),
    "policy_args": st.sampled_from([[], ["ortho_init=False"], ["log_std_init=0.5"], ["nonsense=1"], ["net_arch=[4]"]]),
    "total_timesteps": st.integers(1, 64),
    "seed": st.integers(0, 10**9 - 10),
    "device": st.just("cpu"),
    "torch_threads": st.just(1),
    "checkpoint_every": st.integers(1, 200),
    "stats_window_size": st.integers(1, 20),
    "keep_checkpoints": st.integers(1, 3),
    "learning_rate": st.floats(1e-6, 1e-2),
    "env_timeout": st.floats(0.1, 1e6),
    "stop_at_success": st.none() | st.floats(0, 1),
}


def _good(name: str, kind: Any) -> st.SearchStrategy[Any]:
    """Values of a setting's type that may well be right."""
    if name in _SMALL:
        return _SMALL[name]
    if kind is bool:
        return st.booleans()
    options = [option for option in get_args(kind) if isinstance(option, str)]
    if options:
        return st.sampled_from(options)
    numbers: st.SearchStrategy[Any] = st.floats(0.01, 0.99)
    if type(None) in get_args(kind):
        inner = next(part for part in get_args(kind) if part is not type(None))
        return st.none() | _good("", inner)
    return st.integers(1, 8) if kind is int else numbers


def _section(section: type[Any], without: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    names = {field.name for field in dataclasses.fields(section)} - without
    return st.fixed_dictionaries({}, optional={name: _good(name, kinds(section)[name]) for name in sorted(names)})


@st.composite
def settings(draw: st.DrawFn, junk: bool = True) -> dict[str, Any]:
    """Settings of a training as a preset's file has them, by section."""
    env_id, env_args = draw(st.sampled_from(_ENVS))
    of_a_run = {"env", "core", "agent", "preset", "run_dir", "overwrite", "resume"}
    chosen: dict[str, Any] = {
        **draw(_section(TrainConfig, of_a_run)),
        "env": {**draw(_section(EnvConfig, {"env_id", "env_args"})), "env_id": env_id, "env_args": env_args},
        "core": draw(_section(CoreConfig, set())),
        "agent": draw(_section(AgentConfig, set())),
    }
    # Where a size isn't drawn its default holds, which may be large.
    chosen["core"].setdefault("dim", 16)
    chosen["agent"].setdefault("n_steps", 16)
    chosen["env"].setdefault("n_envs", 2)
    for _ in range(draw(st.integers(0, 2)) if junk else 0):
        part = draw(st.sampled_from([chosen, chosen["env"], chosen["core"], chosen["agent"]]))
        if isinstance(part, dict) and part:
            part[draw(st.sampled_from(sorted(part)))] = draw(JUNK)
    return chosen


def as_flags(chosen: dict[str, Any]) -> list[str]:
    """The same settings as words of the command line; but nothing is compiled, which takes minutes."""
    words: list[str] = []
    for section in (TrainConfig, EnvConfig, CoreConfig, AgentConfig):
        given = chosen if section is TrainConfig else chosen[section.__name__.removesuffix("Config").lower()]
        for field in dataclasses.fields(section) if isinstance(given, dict) else ():
            if field.name not in given or field.name in ("env", "core", "agent", "compile"):
                continue
            value = given[field.name]
            flag = "--env" if field.name == "env_id" else f"--{field.name.replace('_', '-')}"
            if isinstance(value, bool) and isinstance(field.default, bool):
                # Only what differs has a flag.
                words += [] if value == field.default else [flag if value else flag.replace("--", "--no-", 1)]
            elif isinstance(value, list):
                words += [flag, *map(str, value)]
            else:
                words += [flag, str(value)]
    return words
