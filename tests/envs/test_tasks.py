"""Every task of `TASKS` through the conformance suite; `make_env`'s errors; levels."""

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.actions import Actions

from envs import (
    CART_POLE_NO_VELOCITY,
    CORRIDOR,
    ENDLESS_TMAZE,
    MEMORY,
    PENDULUM_NO_VELOCITY,
    TASKS,
    MiniGridCodes,
    levels,
    make_env,
)
from envs.oracles import memoryless_control, oracle, play
from tests.envs.conformance import EnvironmentConformance, base_of
from tests.envs.views import sees


class TestCorridor(EnvironmentConformance):
    env_id = CORRIDOR


class TestCorridorWideView(EnvironmentConformance):
    env_id = CORRIDOR
    kwargs = MappingProxyType({"agent_view_size": 7, "min_length": 7, "max_length": 20})


class TestEndlessTMaze(EnvironmentConformance):
    """Its episodes have no end but time, rewards come all along, and one wrong turn is no success."""

    env_id = ENDLESS_TMAZE
    # So short that an episode has one turn: a chance of one half. Of 3 + 2 steps, the tenth would be a second.
    kwargs = MappingProxyType({"max_length": 3, "max_steps": 9})

    def test_random_steps_stay_in_the_spaces(self, env: gym.Env[Any, Any]) -> None:
        """Catches: codes out of bounds, `is_success` before the end or missing at it, a reward out of range."""
        rng = np.random.default_rng(1)
        codes, _ = env.reset(seed=1)
        for _ in range(600):
            assert codes in env.observation_space
            codes, reward, terminated, truncated, info = env.step(rng.choice(3, p=(0.15, 0.15, 0.7)))
            assert float(reward) in (1.0, -1.0, -0.01)
            assert not terminated
            assert ("is_success" in info) == truncated
            if truncated:
                assert info["is_success"] is (0 < info["turns"] == info["correct_turns"])
                codes, _ = env.reset()


class TestMemoryS7(EnvironmentConformance):
    env_id = "MiniGrid-MemoryS7-v0"
    kwargs = TASKS[env_id].kwargs


class TestMemoryS9(EnvironmentConformance):
    env_id = "MiniGrid-MemoryS9-v0"
    kwargs = TASKS[env_id].kwargs


class TestMemoryS11(EnvironmentConformance):
    env_id = "MiniGrid-MemoryS11-v0"


class TestMemoryS13(EnvironmentConformance):
    env_id = "MiniGrid-MemoryS13-v0"


class TestMemoryS13Random(EnvironmentConformance):
    env_id = "MiniGrid-MemoryS13Random-v0"
    kwargs = TASKS[env_id].kwargs


class TestMemoryS17Random(EnvironmentConformance):
    env_id = "MiniGrid-MemoryS17Random-v0"
    kwargs = TASKS[env_id].kwargs


class TestMemoryOfAnySize(EnvironmentConformance):
    env_id = MEMORY
    kwargs = MappingProxyType({"size": 15, "random_length": True, "agent_view_size": 5})


class KeyCorridorConformance(EnvironmentConformance):
    """Its control acts at random, at 10,000 steps a second, and hardly ever succeeds: few episodes will do."""

    n_actions = 6
    chance = 0.03
    control_episodes = 20


class TestKeyCorridorS3R1(KeyCorridorConformance):
    env_id = "MiniGrid-KeyCorridorS3R1-v0"


class TestKeyCorridorS3R2(KeyCorridorConformance):
    env_id = "MiniGrid-KeyCorridorS3R2-v0"


class TestKeyCorridorS3R3(KeyCorridorConformance):
    env_id = "MiniGrid-KeyCorridorS3R3-v0"


def test_every_task_is_tested() -> None:
    """Catches: a task added to `TASKS` without the conformance suite."""
    suites = [value for value in globals().values() if isinstance(value, type)]
    tested = {suite.env_id for suite in suites if hasattr(suite, "env_id")}
    # Classic control has its own tests, without codes.
    assert tested == set(TASKS) - {CART_POLE_NO_VELOCITY, PENDULUM_NO_VELOCITY}
    for env_id, task in TASKS.items():
        assert task.env_id == env_id
        assert task.demands.endswith(".")


def test_key_corridor_needs_drop() -> None:
    """Catches: dropping `drop` from KeyCorridor's actions; who carries the key can't take the ball."""
    env = make_env("MiniGrid-KeyCorridorS3R1-v0")
    taken: list[int] = []

    def recording_oracle(env: gym.Env[Any, Any]) -> Any:
        policy = oracle(env)

        def act(codes: np.ndarray) -> int:
            taken.append(policy(codes))
            return taken[-1]

        return act

    assert play(env, recording_oracle, 0).success
    assert Actions.drop in taken
    env.reset(seed=0)
    for action in taken:
        if action != Actions.drop:
            *_, terminated, _, _ = env.step(action)
            assert not terminated


@pytest.mark.parametrize(("env_id", "count"), [(t.env_id, t.n_levels) for t in TASKS.values() if t.n_levels])
def test_levels_are_all_there(env_id: str, count: int) -> None:
    """Catches: a stop rule that leaves levels out. 2 objects x 2 sides x (size - 3) starts."""
    seeds = levels(env_id)
    assert seeds is not None
    assert len(seeds) == count
    assert seeds == sorted(set(seeds))
    # The view changes what is seen of a level, not the levels.
    assert levels(env_id, agent_view_size=3) == seeds


def test_level_counts_are_those_of_the_grid() -> None:
    """Catches: `n_levels` typed in wrong; S9 has 24, S13 has 40."""
    assert TASKS["MiniGrid-MemoryS9-v0"].n_levels == 24
    assert TASKS["MiniGrid-MemoryS13-v0"].n_levels == 40


def test_control_is_at_chance_over_all_levels() -> None:
    """Catches: a set of levels that leans to one side. Exactly half, not about half."""
    seeds = levels("MiniGrid-MemoryS9-v0")
    assert seeds is not None
    env = make_env("MiniGrid-MemoryS9-v0", agent_view_size=3)
    assert sum(play(env, memoryless_control, seed).success for seed in seeds) == 12


@pytest.mark.parametrize(
    "env_id", [CORRIDOR, ENDLESS_TMAZE, "MiniGrid-MemoryS13Random-v0", "MiniGrid-KeyCorridorS3R1-v0", "CartPole-v1"]
)
def test_no_levels_where_there_are_many(env_id: str) -> None:
    """Catches: an endless scan for levels of a task that has thousands."""
    assert levels(env_id) is None


def _junctions_seen_with_the_cue(env_id: str, seeds: range, **kwargs: Any) -> tuple[set[int], set[int]]:
    """Columns of the junction: all that occur, and those where one place shows the cue and a target at once."""
    occurring: set[int] = set()
    seen: set[int] = set()
    base = base_of(make_env(env_id, **kwargs))
    for seed in seeds:
        base.reset(seed=seed)
        cells = [(x, y) for x in range(base.width) for y in range(base.height)]
        things = [c for c in cells if (cell := base.grid.get(*c)) is not None and cell.type in ("key", "ball")]
        cue, *targets = sorted(things)
        junction = targets[0][0]
        # What kinds of objects they are, and where the agent starts, doesn't matter to what is in sight.
        if junction not in occurring and sees(base, [cue], targets):
            seen.add(junction)
        occurring.add(junction)
    return occurring, seen


@pytest.mark.parametrize(
    ("env_id", "view", "lengths", "show_both"),
    [
        ("MiniGrid-MemoryS7-v0", 3, 1, 0),
        ("MiniGrid-MemoryS9-v0", 3, 1, 0),
        ("MiniGrid-MemoryS11-v0", 7, 1, 0),
        ("MiniGrid-MemoryS13-v0", 7, 1, 0),
        ("MiniGrid-MemoryS13Random-v0", 3, 7, 0),
        ("MiniGrid-MemoryS17Random-v0", 3, 11, 0),
        ("MiniGrid-MemoryS7-v0", 7, 1, 1),
        ("MiniGrid-MemoryS9-v0", 7, 1, 1),
        ("MiniGrid-MemoryS13Random-v0", 7, 7, 3),
        ("MiniGrid-MemoryS17Random-v0", 7, 11, 3),
    ],
)
def test_where_cue_and_target_are_seen_at_once(env_id: str, view: int, lengths: int, show_both: int) -> None:
    """Catches: a `demands` sentence that isn't so. 0: from no place in any level can memory be spared."""
    occurring, seen = _junctions_seen_with_the_cue(env_id, range(50), agent_view_size=view)
    assert (len(occurring), len(seen)) == (lengths, show_both)


def test_where_a_memory_task_of_size_33_shows_both() -> None:
    """Catches: the same, of the task whose size can be chosen."""
    occurring, seen = _junctions_seen_with_the_cue(MEMORY, range(150), **TASKS[MEMORY].kwargs)
    assert (len(occurring), max(occurring) - min(occurring) + 1, len(seen)) == (27, 27, 3)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("MiniGrid-MemoryS9", {}, "did you mean MiniGrid-MemoryS9-v0"),
        ("corridor-v0", {}, "did you mean ExpireSpan/Corridor-v0?"),
        ("cartpole-v1", {}, "did you mean CartPole-v1"),
        ("zzz", {}, "no environment 'zzz'; for instance ExpireSpan/Corridor-v0"),
        ("zzz", {}, "; one of your own is MODULE:ID"),
        ("no_such_module:X-v0", {}, "no module 'no_such_module'"),
        ("MiniGrid-MemoryS9-v0", {"agent_view_sise": 3}, "did you mean agent_view_size?"),
        (CORRIDOR, {"max_lenght": 9}, "did you mean max_length"),
        (CORRIDOR, {"qqq": 9}, "no argument 'qqq'; it has agent_pov"),
        ("CartPole-v1", {"render_mod": None}, "did you mean render_mode?"),
        ("MiniGrid-MemoryS9-v0", {"agent_view_size": 4}, "agent_view_size must be odd and at least 3, not 4"),
        ("MiniGrid-MemoryS9-v0", {"size": 8}, "size of a Memory task must be odd and at least 7, not 8"),
        ("MiniGrid-MemoryS9-v0", {"max_steps": 2.5}, "max_steps must be an integer"),
        (MEMORY, {"size": 8}, "size of a Memory task must be odd and at least 7, not 8"),
        (CORRIDOR, {"agent_view_size": 7}, "min_length must be at least agent_view_size (7)"),
    ],
)
def test_errors_are_one_line(env_id: str, kwargs: dict[str, Any], message: str) -> None:
    """Catches: a traceback of TypeError or an empty AssertionError for a user's slip."""
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        make_env(env_id, **kwargs)
    assert "\n" not in str(error.value)


def test_a_module_that_fails_is_told_by_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a module said to be missing that is there and imports what isn't, or a traceback of its mistake."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, source, message in (
        ("lacking", "import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("mistaken", "1 / 0", "ZeroDivisionError: division by zero"),
    ):
        (tmp_path / f"{name}.py").write_text(source)
        with pytest.raises(
            ValueError, match=f"^importing '{name}' for the environment '{name}:X-v0' failed: {message}$"
        ):
            make_env(f"{name}:X-v0")


def test_other_environments_pass_through() -> None:
    """Catches: a wrapper forced on what isn't MiniGrid's, a mission dropped that says what to do."""
    cart_pole = make_env("CartPole-v1", max_episode_steps=7)
    assert cart_pole.observation_space.shape == (4,)
    assert cart_pole.spec is not None
    assert cart_pole.spec.max_episode_steps == 7
    assert isinstance(make_env("MiniGrid-GoToDoor-5x5-v0").observation_space, gym.spaces.Dict)
    empty = make_env("MiniGrid-Empty-5x5-v0")
    assert isinstance(empty, MiniGridCodes)
    assert empty.action_space == gym.spaces.Discrete(7)


def test_gymnasium_time_limit_sets_is_success() -> None:
    """Catches: an episode cut by Gymnasium's own limit, outside MiniGrid, that ends without `is_success`."""
    env = make_env("MiniGrid-MemoryS9-v0", max_episode_steps=2)
    env.reset(seed=0)
    assert "is_success" not in env.step(0)[4]
    *_, truncated, info = env.step(0)
    assert truncated
    assert info["is_success"] is False


def test_only_minigrid_is_wrapped_and_has_an_oracle() -> None:
    """Catches: a bare AttributeError deep in a rollout."""
    with pytest.raises(ValueError, match="not CartPoleEnv"):
        MiniGridCodes(gym.make("CartPole-v1"), 2)
    with pytest.raises(ValueError, match="no oracle for CartPoleEnv"):
        oracle(make_env("CartPole-v1"))
    with pytest.raises(ValueError, match="no control for CartPoleEnv"):
        memoryless_control(make_env("CartPole-v1"))


def test_the_specification_makes_the_same_environment() -> None:
    """Catches: a wrapper or an entry point that Gymnasium can't make again from `env.spec`."""
    env = make_env("MiniGrid-MemoryS9-v0", agent_view_size=3)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert str(again) == str(env)
    np.testing.assert_array_equal(again.reset(seed=4)[0], env.reset(seed=4)[0])
