"""Batched environments for Stable-Baselines3 and for Gymnasium."""

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from envs import CORRIDOR, ENDLESS_TMAZE, MEMORY
from envs.batched import BatchedVecEnv, BatchedVectorEnv, Transition, make_batched

IDS = [MEMORY, CORRIDOR, ENDLESS_TMAZE]


def _expected(env_id: str, actions: np.ndarray, **kwargs: Any) -> tuple[np.ndarray, list[Transition]]:
    """First observations and steps of the same environments as tensors, in NumPy."""
    env = make_batched(env_id, actions.shape[1], **kwargs)
    obs = env.reset(seed=3).numpy()
    steps = [env.step(torch.from_numpy(row)) for row in actions]
    return obs, [Transition._make(tensor.numpy() for tensor in step) for step in steps]


def _actions(steps: int, n_envs: int) -> np.ndarray:
    return np.random.default_rng(0).choice(3, size=(steps, n_envs), p=(0.15, 0.15, 0.7))


@pytest.mark.parametrize("env_id", IDS)
def test_vec_env_gives_what_sb3_expects(env_id: str) -> None:
    """Catches: infos of the wrong environment, a reset observation as the terminal one, a time-out unsaid."""
    actions = _actions(150, 6)
    obs, steps = _expected(env_id, actions, max_steps=40)
    said = {CORRIDOR: {"corridor_length"}, ENDLESS_TMAZE: {"corridor_length", "turns", "correct_turns"}}.get(
        env_id, set()
    )
    env = BatchedVecEnv(make_batched(env_id, 6, max_steps=40))
    assert env.seed(3) == [3] * 6
    np.testing.assert_array_equal(env.reset(), obs)
    n_ended = 0
    for row, step in zip(actions, steps, strict=True):
        seen, rewards, dones, infos = env.step(row)
        np.testing.assert_array_equal(seen, step.obs)
        np.testing.assert_array_equal(rewards, step.rewards)
        np.testing.assert_array_equal(dones, step.terminated | step.truncated)
        for i, info in enumerate(infos):
            if not dones[i]:
                assert info == {}
                continue
            n_ended += 1
            assert info["episode"]["l"] == step.episode_lengths[i]
            assert info["episode"]["r"] == pytest.approx(step.episode_returns[i], abs=1e-5)
            assert info["episode"]["t"] >= 0
            assert info["is_success"] is bool(step.is_success[i])
            assert info["TimeLimit.truncated"] is bool(step.truncated[i])
            np.testing.assert_array_equal(info["terminal_observation"], step.final_obs[i])
            assert info.keys() - {"episode", "is_success", "TimeLimit.truncated", "terminal_observation"} == said
    assert n_ended > 6


def test_ppo_trains() -> None:
    """Catches: spaces, types or infos that Stable-Baselines3 can't work with."""
    env = BatchedVecEnv(make_batched(CORRIDOR, 8, max_length=4))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.learn(2 * 8 * 32)
    assert model.num_timesteps == 512
    # Its Monitor's statistics have arrived, without a second one around the environments.
    assert model.ep_info_buffer
    assert set(model.ep_info_buffer[0]) == {"r", "l", "t"}
    assert not isinstance(model.get_env(), VecMonitor)


def test_vec_env_attributes() -> None:
    """Catches: a warning at construction, an attribute set in vain, an index out of the count."""
    tensor_env = make_batched(CORRIDOR, 3, max_steps=9)
    env = BatchedVecEnv(tensor_env)
    assert env.tensor_env is tensor_env
    assert env.render_mode is None
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("max_steps", [0, 2]) == [9, 9]
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gym.wrappers.TimeLimit, 1) == [False]
    with pytest.raises(AttributeError):
        env.get_attr("no_such_attribute")
    with pytest.raises(AttributeError, match="can't set 'max_steps'"):
        env.set_attr("max_steps", 3)
    with pytest.raises(AttributeError, match="can't call 'reset'"):
        env.env_method("reset")
    with pytest.raises(RuntimeError, match="call step_async before"):
        env.step_wait()
    env.close()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 1]), "integers of shape (3,), not int64 of (2,)"),
        (np.array([0.0, 1.0, 2.0]), "integers of shape (3,), not float64"),
        (np.array([0, 1, 3]), "actions must be 0 to 2, not 0 to 3"),
        (np.array([0, -1, 2]), "actions must be 0 to 2, not -1 to 2"),
    ],
)
def test_bad_actions_are_refused(actions: np.ndarray, message: str) -> None:
    """Catches: an index beyond a table, which is another place's entry, or a crash on a GPU."""
    tensor_env = make_batched(CORRIDOR, 3)
    with pytest.raises(ValueError, match=re.escape(message)):
        BatchedVecEnv(tensor_env).step(actions)
    with pytest.raises(ValueError, match=re.escape(message)):
        BatchedVectorEnv(tensor_env).step(actions)


@pytest.mark.parametrize("env_id", IDS)
def test_make_vec_gives_the_batched_version(env_id: str) -> None:
    """Catches: an entry point of another id, infos unlike Gymnasium's own vector environments'."""
    actions = _actions(150, 8)
    first, steps = _expected(env_id, actions, max_steps=40)
    env = gym.make_vec(env_id, num_envs=8, vectorization_mode="vector_entry_point", max_steps=40)
    assert isinstance(env, BatchedVectorEnv)
    assert env.spec is not None
    assert env.spec.id == env_id
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    obs, infos = env.reset(seed=3)
    np.testing.assert_array_equal(obs, first)
    assert infos == {}
    assert obs in env.observation_space
    n_ended = 0
    for row, step in zip(actions, steps, strict=True):
        obs, rewards, terminated, truncated, infos = env.step(row)
        np.testing.assert_array_equal(obs, step.obs)
        np.testing.assert_array_equal(rewards, step.rewards)
        np.testing.assert_array_equal(terminated, step.terminated)
        np.testing.assert_array_equal(truncated, step.truncated)
        ended = terminated | truncated
        if not ended.any():
            assert infos == {}
            continue
        n_ended += int(ended.sum())
        np.testing.assert_array_equal(infos["_final_obs"], ended)
        np.testing.assert_array_equal(infos["_final_info"], ended)
        final_info = infos["final_info"]
        np.testing.assert_array_equal(final_info["is_success"], step.is_success & ended)
        np.testing.assert_array_equal(final_info["episode"]["l"], np.where(ended, step.episode_lengths, 0))
        for i, last in enumerate(infos["final_obs"]):
            assert (last is not None) == ended[i]
            if last is not None:
                np.testing.assert_array_equal(last, step.final_obs[i])
    assert n_ended > 8
    env.close()


def test_final_infos_have_gymnasiums_shape() -> None:
    """Catches: keys or types that a wrapper for `SyncVectorEnv` wouldn't find."""
    kwargs = {"max_steps": 2, "disable_env_checker": True}
    theirs = gym.make_vec(
        CORRIDOR,
        2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        wrappers=[lambda env: gym.wrappers.FlattenObservation(gym.wrappers.FilterObservation(env, ["image"]))],
        **kwargs,
    )
    ours = gym.make_vec(CORRIDOR, 2, max_steps=2)
    for env in (theirs, ours):
        env.reset(seed=0)
        env.step(np.zeros(2, np.int64))
    (*_, their_infos), (*_, our_infos) = theirs.step(np.zeros(2, np.int64)), ours.step(np.zeros(2, np.int64))
    for key in ("final_obs", "_final_obs", "_final_info"):
        assert our_infos[key].dtype == their_infos[key].dtype
        assert our_infos[key].shape == their_infos[key].shape
    for key in ("is_success", "_is_success"):
        np.testing.assert_array_equal(our_infos["final_info"][key], their_infos["final_info"][key])


def test_make_vec_takes_the_environments_arguments() -> None:
    """Catches: arguments lost on the way, a default size that can't be made."""
    env = gym.make_vec(MEMORY, num_envs=8, size=13, random_length=True, agent_view_size=3)
    assert env.observation_space.shape == (8, 3, 3, 3)
    assert gym.make_vec(MEMORY, num_envs=2).reset(seed=0)[0].shape == (2, 7, 7, 3)
    with pytest.raises(ValueError, match="did you mean max_length"):
        gym.make_vec(CORRIDOR, num_envs=2, max_lenght=9)


def test_vector_env_refuses_what_it_would_ignore() -> None:
    """Catches: a list of seeds or a mask of resets without effect."""
    env = BatchedVectorEnv(make_batched(CORRIDOR, 2))
    with pytest.raises(ValueError, match="seed must be one integer"):
        env.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="no reset options, not reset_mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
