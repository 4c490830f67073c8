"""Classic control without velocities: the originals with less to see, and a memory of one step makes up for it."""

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from envs import CART_POLE_NO_VELOCITY, PENDULUM_NO_VELOCITY, NoVelocity, make_env

ORIGINALS = {CART_POLE_NO_VELOCITY: ("CartPole-v1", [0, 2]), PENDULUM_NO_VELOCITY: ("Pendulum-v1", [0, 1])}
STEPS = {CART_POLE_NO_VELOCITY: 500, PENDULUM_NO_VELOCITY: 200}

# The action for an observation and the one before it, None at an episode's start.
Policy = Callable[[np.ndarray, np.ndarray | None], Any]


def balance(seen: np.ndarray, before: np.ndarray | None) -> int:
    """CartPole: push to where the pole falls and the cart drifts, by differences to the observation before."""
    position, angle = seen
    speed, angular_speed = (0.0, 0.0) if before is None else (seen - before) / 0.02
    return int(0.3 * position + 0.6 * speed + 4 * angle + angular_speed > 0)


def swing_up(seen: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Pendulum: push along with the swing until its energy suffices, then hold it upright."""
    cosine, angle = seen[0], np.arctan2(seen[1], seen[0])
    turned = 0.0 if before is None else angle - np.arctan2(before[1], before[0])
    speed = ((turned + np.pi) % (2 * np.pi) - np.pi) / 0.05
    missing_energy = 15 * (1 - cosine) - speed**2 / 2
    torque = -(8 * angle + 2 * speed) if cosine > 0.95 else 2 * np.sign((speed or 1.0) * missing_energy)
    return np.array([np.clip(torque, -2, 2)], np.float32)


POLICIES: dict[str, Policy] = {CART_POLE_NO_VELOCITY: balance, PENDULUM_NO_VELOCITY: swing_up}


def mean_return(env_id: str, remembers: bool, episodes: int = 20) -> float:
    """Of the task's scripted policy, which forgets the observation before unless it `remembers`."""
    env, policy, total = make_env(env_id), POLICIES[env_id], 0.0
    for seed in range(episodes):
        seen, before, ended = env.reset(seed=seed)[0], None, False
        while not ended:
            action = policy(seen, before)
            before = seen if remembers else None
            seen, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            ended = terminated or truncated
    return total / episodes


@pytest.mark.parametrize("env_id", ORIGINALS)
def test_check_env(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: spaces, seeding, returned types or rendering that break Gymnasium's contract."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = make_env(env_id, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It asks for the bare environment, but what the agents see is ours.
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        # Pendulum's torque is in its own units.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized space.*")
        check_env(env)


@pytest.mark.parametrize("env_id", ORIGINALS)
def test_it_is_the_original_with_less_to_see(env_id: str) -> None:
    """Catches: a velocity left in, other dynamics or rewards, another time limit."""
    name, kept = ORIGINALS[env_id]
    env, original = make_env(env_id), gym.make(name)
    full = original.observation_space
    assert isinstance(full, spaces.Box)
    assert env.observation_space == spaces.Box(full.low[kept], full.high[kept], dtype=np.float32)
    assert env.action_space == original.action_space
    for seed in range(3):
        seen, everything = env.reset(seed=seed)[0], original.reset(seed=seed)[0]
        before, steps, ended = None, 0, False
        while not ended:
            assert seen in env.observation_space
            np.testing.assert_array_equal(seen, everything[kept])
            action = POLICIES[env_id](seen, before)
            before = seen
            seen, reward, terminated, truncated, _ = env.step(action)
            everything, *expected, _ = original.step(action)
            assert [reward, terminated, truncated] == expected
            steps, ended = steps + 1, terminated or truncated
        np.testing.assert_array_equal(seen, everything[kept])
        # These policies don't fail: it is time that ends their episodes.
        assert steps == STEPS[env_id]


@pytest.mark.parametrize(
    ("env_id", "with_memory", "without"), [(CART_POLE_NO_VELOCITY, 499, 100), (PENDULUM_NO_VELOCITY, -250, -900)]
)
def test_one_step_of_memory_is_what_it_takes(env_id: str, with_memory: float, without: float) -> None:
    """Catches: a `demands` that isn't so. The same policy gets 500 and 39 in CartPole, -145 and -1,312 in Pendulum."""
    assert mean_return(env_id, remembers=True) > with_memory
    assert mean_return(env_id, remembers=False) < without


@pytest.mark.parametrize("env_id", ORIGINALS)
def test_the_specification_makes_the_same_environment(env_id: str) -> None:
    """Catches: a wrapper that is put on twice, or not at all, when the environment is made from `env.spec`."""
    env = make_env(env_id, max_episode_steps=7)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert str(again) == str(env)
    np.testing.assert_array_equal(again.reset(seed=4)[0], env.reset(seed=4)[0])


def test_several_at_once_through_gymnasium() -> None:
    """Catches: a registration that `gymnasium.make_vec` can't use."""
    env = gym.make_vec(CART_POLE_NO_VELOCITY, num_envs=3, vectorization_mode="sync")
    assert env.reset(seed=0)[0].shape == (3, 2)
    env.close()


@pytest.mark.parametrize(
    ("env_id", "kept", "message"),
    [
        ("CartPole-v1", [0, 4], r"kept must be indices from 0 to 3, not \[0, 4\]"),
        ("CartPole-v1", [-1], r"kept must be indices from 0 to 3, not \[-1\]"),
        ("Taxi-v4", [0], "NoVelocity reads vectors, a Box of one dimension, not Discrete"),
        ("MiniGrid-MemoryS7-v0", [0], "NoVelocity reads vectors, a Box of one dimension, not Box"),
    ],
)
def test_what_it_cant_wrap_is_refused(env_id: str, kept: list[int], message: str) -> None:
    """Catches: an IndexError at the first reset, or the wrong component counted from the end."""
    with pytest.raises(ValueError, match=message):
        NoVelocity(make_env(env_id), kept)
