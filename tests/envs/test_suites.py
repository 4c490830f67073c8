"""POPGym and Memory Gym, as `make_env` makes them by id."""

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from envs import make_env
from envs.suites import MEMORY_GYM, POPGYM, SUITES, Suite, suite_of_id

needs_popgym = pytest.mark.skipif(importlib.util.find_spec("popgym") is None, reason="POPGym isn't installed")
needs_memory_gym = pytest.mark.skipif(importlib.util.find_spec("memory_gym") is None, reason="Memory Gym isn't there")
BOTH = [pytest.param(POPGYM, marks=needs_popgym), pytest.param(MEMORY_GYM, marks=needs_memory_gym)]


def observed(env: gym.Env[Any, Any], seed: int, steps: int) -> Iterator[Any]:
    """One observation after the other, of random actions that the seed fixes."""
    env.action_space.seed(seed)
    yield env.reset(seed=seed)[0]
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        yield observation
        if terminated or truncated:
            yield env.reset()[0]


@pytest.mark.parametrize("suite", BOTH)
def test_every_environment_steps_within_its_spaces(suite: Suite) -> None:
    """Catches: an environment that breaks with our versions of Gymnasium and NumPy, or spaces that aren't so."""
    assert len(suite.ids()) >= 10
    for env_id in suite.ids():
        env = make_env(env_id)
        for observation in observed(env, 3, 120):
            assert observation in env.observation_space, env_id
        env.close()


@pytest.mark.parametrize("suite", BOTH)
def test_the_specification_makes_the_same_environment(suite: Suite) -> None:
    """Catches: a wrapper of ours that Gymnasium can't make again from `env.spec`."""
    env = make_env(suite.ids()[0])
    assert env.spec is not None
    assert str(gym.make(EnvSpec.from_json(env.spec.to_json()))) == str(env)


@pytest.mark.parametrize(
    ("env_id", "suite"),
    [
        ("popgym-RepeatPreviousEasy-v0", POPGYM),
        ("POPGym-autoencode", POPGYM),
        ("Endless-MysteryPath-v0", MEMORY_GYM),
        ("MortarMayhemB-Grid-v0", MEMORY_GYM),
        ("Endless-Runner-v0", None),
        ("ExpireSpan/Corridor-v0", None),
    ],
)
def test_ids_say_their_suite(env_id: str, suite: Suite | None) -> None:
    """Catches: an id that doesn't find its package, or another's id that asks for one."""
    assert suite_of_id(env_id) is suite


@pytest.mark.parametrize("suite", BOTH)
def test_all_ids_are_found(suite: Suite) -> None:
    """Catches: an environment whose id doesn't begin as the suite's should."""
    assert all(suite_of_id(env_id) is suite for env_id in suite.ids())


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.title)
@pytest.mark.parametrize("prefix", ["", "{}:"])
def test_a_missing_package_says_how_to_install_it(suite: Suite, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: "no environment" where only its package is missing."""
    monkeypatch.setitem(sys.modules, suite.module, None)
    with pytest.raises(ValueError, match=f"{suite.title} isn't installed: pip install") as caught:
        make_env(f"{prefix.format(suite.module)}{suite.prefixes[0]}")
    assert "\n" not in str(caught.value)


@needs_popgym
@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("popgym-RepeatPreviousEasy-v1", "did you mean popgym-RepeatPreviousEasy-v0"),
        ("popgym-repeatpreviouseasy-v0", "did you mean popgym-RepeatPreviousEasy-v0"),
    ],
)
def test_near_misses_are_those_of_the_suite(env_id: str, message: str) -> None:
    """Catches: a slip in an id whose package wasn't asked for near misses."""
    with pytest.raises(ValueError, match=message):
        make_env(env_id)


@needs_popgym
def test_popgym_shows_the_action_where_it_must() -> None:
    """Catches: a bandit that doesn't say which arm paid, and tuples that Stable-Baselines3 can't read."""
    env = make_env("popgym-MultiarmedBanditEasy-v0", max_episode_steps=5)
    assert env.observation_space == spaces.Dict(
        {"action": spaces.Discrete(10), "observation": spaces.Discrete(2), "start": spaces.Discrete(2)}
    )
    assert env.reset(seed=0)[0]["start"] == 1
    assert env.step(7)[0]["action"] == 7
    cards = make_env("popgym-AutoencodeEasy-v0")
    assert cards.observation_space == spaces.Dict({"0": spaces.Discrete(2), "1": spaces.Discrete(4)})
    assert make_env("popgym-RepeatFirstEasy-v0").observation_space == spaces.Discrete(4)


@needs_popgym
def test_a_popgym_task_can_be_solved_as_we_read_it() -> None:
    """Catches: an action or a card that is off by one on its way through our wrappers."""
    env = make_env("popgym-AutoencodeEasy-v0")
    seen, _ = env.reset(seed=0)
    cards, total, ended = [int(seen["1"])], 0.0, False
    while not ended:
        # While the first part is 1, the next observation shows a card; then they are asked for, the last one first.
        watches = bool(seen["0"])
        seen, reward, ended, _, _ = env.step(0 if watches else cards.pop())
        if watches:
            cards.append(int(seen["1"]))
        total += float(reward)
    assert total == pytest.approx(1.0)


@needs_memory_gym
def test_memory_gyms_environments_share_a_process() -> None:
    """Catches: pictures of the neighbour's level, and a close that ends all the others."""
    alone = [list(observed(make_env("SearingSpotlights-v0"), seed, 60)) for seed in (1, 2)]
    together = [observed(make_env("SearingSpotlights-v0"), seed, 60) for seed in (1, 2)]
    other = make_env("MysteryPath-v0")
    for i, shown in enumerate(zip(*together, strict=True)):
        for picture, expected in zip(shown, (pictures[i] for pictures in alone), strict=True):
            np.testing.assert_array_equal(picture, expected)
        if i == 0:
            other.reset(seed=0)
            other.close()


@needs_memory_gym
def test_memory_gyms_success_is_rewarded() -> None:
    """Catches: Mortar Mayhem's own success, which is always there after a single command, right or wrong."""
    env = make_env("MortarMayhem-Grid-v0")
    env.action_space.seed(0)
    successes = []
    for seed in range(60):
        _, info = env.reset(seed=seed, options={"command_count": [1]})
        total, ended = 0.0, False
        while not ended:
            assert "is_success" not in info
            _, reward, ended, _, info = env.step(env.action_space.sample())
            total += float(reward)
        assert info["is_success"] is (total > 0)
        successes.append(info["is_success"])
    assert 0 < sum(successes) < 30


@needs_memory_gym
def test_a_time_limit_is_no_success_and_endless_tasks_have_none() -> None:
    """Catches: episodes that are left out of a success rate, and a rate of nothing but failures for an endless task."""
    for env_id, expected in (("MysteryPath-v0", False), ("Endless-MortarMayhem-v0", None)):
        env = make_env(env_id, max_episode_steps=2)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        *_, truncated, info = env.step(env.action_space.sample())
        assert truncated
        assert info.get("is_success") is expected
