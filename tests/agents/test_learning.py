"""What the agent learns, beside what it can't learn without a memory; and SB3's tools around it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from agents import ExpireSpanPPO
from agents.evaluation import evaluate_policy as evaluate_with_masks
from tests.agents.models import CORE, CORES
from tests.agents.worlds import MaskedRecallEnv, RecallEnv

STEPS = 12_000


def recall_agent(core: str = "expire-span", env: type[RecallEnv] = RecallEnv, **sizes: Any) -> ExpireSpanPPO:
    kwargs = CORES[core] | {"depth": 1} | ({"slots": 8} if core == "expire-span" else {}) | sizes
    return ExpireSpanPPO(
        "MlpPolicy",
        make_vec_env(env, 8, seed=0),
        learning_rate=3e-3,
        n_steps=32,
        segment_length=32,
        batch_size=128,
        policy_kwargs=kwargs,
        seed=0,
        device="cpu",
    )


def success(model: ExpireSpanPPO) -> float:
    mean, _ = evaluate_policy(model, make_vec_env(RecallEnv, 8, seed=1000), n_eval_episodes=200)
    assert isinstance(mean, float | np.floating)
    return float(mean)


@pytest.mark.parametrize(
    "core", ["expire-span", *(pytest.param(core, marks=pytest.mark.slow) for core in ("lstm", "gru"))]
)
def test_the_agent_recalls_a_cue(core: str) -> None:
    """Would catch: anything that keeps the agent from learning (a lost gradient, a wrong advantage, a memory that
    isn't carried). A policy without a memory gets 0.5; we ask for 0.95."""
    model = recall_agent(core).learn(STEPS)
    assert success(model) > 0.95


def test_with_action_masks_it_recalls_a_cue() -> None:
    """Would catch: masks that are of another step in training than they were in acting, a gradient lost in them. The
    environment refuses what may not be done, also while it is evaluated."""
    model = recall_agent("lstm", MaskedRecallEnv).learn(STEPS)
    mean, _ = evaluate_with_masks(model, make_vec_env(MaskedRecallEnv, 8, seed=1000), n_eval_episodes=200)
    assert mean > 0.95


def test_without_a_memory_it_stays_at_chance() -> None:
    """Would catch: a task that can be solved without remembering, on which the test above would prove nothing."""
    model = recall_agent(slots=0).learn(STEPS)
    assert 0.35 < success(model) < 0.65


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_callbacks_and_wrappers_of_sb3(tmp_path: Path) -> None:
    """Would catch: an interface that only looks like SB3's: EvalCallback and CheckpointCallback unchanged, over
    VecNormalize, and a best model that loads."""
    env = VecNormalize(make_vec_env(RecallEnv, 4, seed=0))
    model = ExpireSpanPPO("MlpPolicy", env, n_steps=16, batch_size=64, policy_kwargs=CORE, device="cpu")
    callbacks = [
        EvalCallback(
            VecNormalize(make_vec_env(RecallEnv, 2, seed=1), training=False),
            best_model_save_path=str(tmp_path),
            eval_freq=32,
            n_eval_episodes=4,
            verbose=0,
        ),
        CheckpointCallback(save_freq=32, save_path=str(tmp_path)),
    ]
    model.learn(256, callback=callbacks)
    best = ExpireSpanPPO.load(tmp_path / "best_model", device="cpu")
    assert (tmp_path / "rl_model_256_steps.zip").is_file()
    action, state = best.predict(np.zeros((2, 3), np.float32))
    assert action.shape == (2,)
    assert state is not None


def test_training_is_repeatable() -> None:
    """Would catch: a random number that no seed governs."""
    first, second = (recall_agent().learn(512).policy.state_dict() for _ in range(2))
    assert all(torch.equal(weights, second[name]) for name, weights in first.items())


def test_settings_may_change_between_two_trainings() -> None:
    """Would catch: a program that goes on with the numbers it was made with, where SB3's PPO takes the model's."""
    model = recall_agent().learn(512)
    steps: list[float] = []
    model.policy.optimizer.register_step_pre_hook(
        lambda *_: steps.append(
            float(torch.nn.utils.get_total_norm([p.grad for p in model.policy.parameters() if p.grad is not None]))
        )
    )
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
    assert max(steps) > 1e-3
    minibatches = len(steps) // model.n_epochs
    assert minibatches > 1
    for name, value in (("max_grad_norm", 1e-6), ("batch_size", model.n_steps * model.n_envs)):
        setattr(model, name, value)
        steps.clear()
        model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
        assert max(steps) <= 1.01e-6
    assert len(steps) == model.n_epochs
    assert abs(model.logger.name_to_value["train/policy_gradient_loss"]) > 1e-9
    # Of advantages divided by so much nothing is left.
    model.min_advantage_std = 1e9
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
    assert abs(model.logger.name_to_value["train/policy_gradient_loss"]) < 1e-9
    for name in ("clip_range", "clip_range_vf", "memory_budget"):
        setattr(model, name, 0.125)
    model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
    told = model.logger.name_to_value
    assert [told[f"train/{name}"] for name in ("clip_range", "clip_range_vf", "memory_budget")] == [0.125] * 3
    model.batch_size = 0
    with pytest.raises(ValueError, match="batch_size=0 must be a whole number, at least 1"):
        model.learn(model.n_steps * model.n_envs, reset_num_timesteps=False)
