"""Evaluation with a memory and with action masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common import evaluation
from stable_baselines3.common.callbacks import StopTrainingOnRewardThreshold
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.evaluation import EvalCallback, evaluate_policy
from tests.agents.models import clock_model
from tests.agents.worlds import ClockEnv, MaskedClockEnv, box


class Counted(MaskedClockEnv):
    """Rewards the number of the action, so that a return tells what was done."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(action), terminated, truncated, info


def counted(n_envs: int = 2) -> DummyVecEnv:
    env = DummyVecEnv([lambda: Monitor(Counted(box(3), spaces.Discrete(4)))] * n_envs)
    env.seed(0)
    return env


def test_masks_and_memory_go_along() -> None:
    """Would catch: an evaluation in which illegal actions are taken (the environment asserts they aren't), or one that
    forgets at each step, as sb3-contrib's does."""
    model = clock_model(masked=True)
    remembered: list[bool] = []

    def look(local: dict[str, Any], _: dict[str, Any]) -> None:
        ages = local["states"].cache.memory.elapsed_times
        remembered.append(bool((ages.isfinite().sum(-1) > 1).any()))

    rewards, lengths = evaluate_policy(model, counted(), 6, callback=look, return_episode_rewards=True)
    assert len(rewards) == len(lengths) == 6
    assert max(rewards) > 0
    assert sum(remembered) > len(remembered) / 2
    mean, deviation = evaluate_policy(model, Monitor(Counted(box(3), spaces.Discrete(4))), 2)
    assert mean >= 0
    assert deviation >= 0


def test_without_masks_it_is_sb3s() -> None:
    """Would catch: an argument that doesn't arrive; masks that are asked of environments that have none."""

    def env() -> DummyVecEnv:
        vec_env = DummyVecEnv([lambda: ClockEnv(box(3), spaces.Discrete(4))] * 2)
        vec_env.seed(0)
        return vec_env

    model = clock_model()
    arguments: dict[str, Any] = {"n_eval_episodes": 5, "return_episode_rewards": True, "warn": False}
    ours, theirs = evaluate_policy(model, env(), **arguments), evaluation.evaluate_policy(model, env(), **arguments)
    assert ours == theirs
    with pytest.raises(ValueError, match="use_masking=True, but the environment has no method"):
        evaluate_policy(model, env(), use_masking=True)
    with pytest.raises(AssertionError, match="may not be taken"):
        evaluate_policy(model, counted(), use_masking=False, deterministic=False)


def test_the_callback_passes_masks(tmp_path: Path) -> None:
    """Would catch: SB3's own evaluation under another name, a stand-in for the model that is left in its place, a best
    model that isn't saved, callbacks within it that aren't called."""
    model = clock_model(masked=True)
    assert model.env is not None
    callback = EvalCallback(
        VecNormalize(counted(), training=False),
        callback_on_new_best=StopTrainingOnRewardThreshold(-100),
        best_model_save_path=str(tmp_path),
        log_path=str(tmp_path),
        eval_freq=5,
        n_eval_episodes=3,
        verbose=0,
        warn=False,
    )
    model.set_env(VecNormalize(counted(3), norm_obs=False))
    model.learn(96, callback=callback)
    assert callback.model is model
    assert callback.last_mean_reward > -np.inf
    assert model.num_timesteps == 15, "the callback on a new best one stops the training"
    assert len(np.load(tmp_path / "evaluations.npz")["results"]) == 1
    assert any(path.stem == "best_model" for path in tmp_path.iterdir())
