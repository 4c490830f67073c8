"""Small models in which every part of the memory is at work."""

import warnings
from typing import Any

import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from torch import nn

from agents import ExpireSpanPPO
from tests.agents.worlds import ClockEnv, MaskedClockEnv, box

CORE = {
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "slots": 5,
    "max_span": 30,
    "ramp_length": 4,
    "seq_len": 8,
    "initial_span": 0.15,
}
"""Slots are short: episodes are longer, and spans reach beyond."""

CORES: dict[str, dict[str, Any]] = {
    "expire-span": CORE,
    "transformer-xl": {"core": "transformer-xl", "dim": 16, "depth": 2, "heads": 2, "slots": 5, "seq_len": 8},
    "lstm": {"core": "lstm", "dim": 16, "depth": 2, "hidden_size": 12},
    "gru": {"core": "gru", "dim": 16, "depth": 2},
}
"""Small cores of every kind, as keyword arguments of a policy."""

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")),
]


def clock_model(
    observation_space: spaces.Space | None = None,
    action_space: spaces.Space | None = None,
    policy: str = "MlpPolicy",
    n_envs: int = 3,
    masked: bool = False,
    **kwargs: Any,
) -> ExpireSpanPPO:
    """A model on `ClockEnv` whose heads and span predictors are scaled up: SB3's gain of 0.01 would hide any error.

    `masked`: on `MaskedClockEnv`. `policy_kwargs` are those of `CORE`, but for these; or with another core, theirs.
    """
    kind = MaskedClockEnv if masked else ClockEnv
    vec_env = VecMonitor(
        DummyVecEnv([lambda: kind(observation_space or box(3), action_space or spaces.Discrete(4))] * n_envs)
    )
    arguments: dict[str, Any] = {"n_steps": 32, "segment_length": 8, "batch_size": 24, "seed": 0, "device": "cpu"}
    # Not compiled: the tests' checks of shapes can't be traced. `test_compiled.py` is about that.
    arguments["compile"] = False
    arguments |= kwargs
    given = arguments.pop("policy_kwargs", {})
    core = given if "core" in given else CORE | given
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="batch_size|slots=")
        model = ExpireSpanPPO(policy, vec_env, policy_kwargs=core, **arguments)
    model.set_logger(Logger(None, []))
    scale_up(model)
    return model


def scale_up(model: ExpireSpanPPO) -> None:
    """Makes the heads' outputs and the spans differ widely from state to state."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer, deviation in ((model.policy.action_net, 1.0), (model.policy.value_net, 1.0)):
            assert isinstance(layer, nn.Linear)
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * deviation)
        core = model.policy.core
        assert isinstance(core, nn.Module)
        for module in core.modules():
            if isinstance(module, nn.Linear) and module.out_features == 1:
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator))


def collect(model: ExpireSpanPPO) -> None:
    """One rollout, going on where the last one ended."""
    _, callback = model._setup_learn(10**6, reset_num_timesteps=model._last_obs is None)
    assert model.env is not None
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)


def difference(model: ExpireSpanPPO) -> float:
    """Greatest difference between what acting recorded and what training makes of the same segments."""
    worst = 0.0
    with torch.no_grad():
        for batch in map(model.rollout_buffer.minibatch, model.rollout_buffer.shuffled(4)):
            now = model.policy.evaluate_segments(
                batch.obs, batch.actions, batch.memory, batch.episode_starts, batch.action_masks
            )
            worst = max(worst, (now.log_prob - batch.old_log_prob).abs().max().item())
            worst = max(worst, (now.values - batch.old_values).abs().max().item())
    return worst
