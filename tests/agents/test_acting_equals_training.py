"""Acting step by step, training on segments and `predict` are one computation."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents.cores import tensors_of
from tests.agents.models import CORES, DEVICES, clock_model, collect, difference
from tests.agents.worlds import box

AGREE = 1e-4
"""Greatest difference in log-probability or value, float32."""


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("device", DEVICES)
def test_ratio_is_one_before_the_first_update(device: str, core: str) -> None:
    """Would catch: training from another memory than acting had, a slot evicted at a segment's end, an episode's
    start that leaks, keys and values not made anew after an update, memory lost between rollouts."""
    model = clock_model(device=device, policy_kwargs=CORES[core])
    for _ in range(2):
        collect(model)
        starts = model.rollout_buffer.episode_starts.unflatten(0, (-1, model.rollout_buffer.segment_length))
        assert starts[:, 1:].any(), "no episode started inside a segment"
        if core == "expire-span":
            assert model.memory_statistics["evicted_live"] > 0.03, "slots weren't short"
            assert 0.05 < model.memory_statistics["on_ramp"] < 0.95, "the ramp wasn't at work"
        assert difference(model) < AGREE
        model.train()
        assert difference(model) > AGREE, "the update changed nothing, so the test can't fail"


@pytest.mark.parametrize(
    ("observation_space", "action_space", "policy"),
    [
        (spaces.Discrete(5), spaces.Discrete(3), "MlpPolicy"),
        (spaces.MultiBinary(4), spaces.MultiDiscrete([2, 3]), "MlpPolicy"),
        (box(2), box(2), "MlpPolicy"),
        (box(2), box(2, 2), "MlpPolicy"),
        (box(2), box(1, 1), "MlpPolicy"),
        (box(2), spaces.MultiBinary(3), "MlpPolicy"),
        (spaces.Box(0, 255, (36, 36, 3), np.uint8), spaces.Discrete(3), "CnnPolicy"),
        (spaces.Box(0, 10, (3, 3, 3), np.uint8), spaces.Discrete(3), "MlpPolicy"),
        (spaces.Dict({"a": box(3), "b": spaces.Discrete(4)}), spaces.Discrete(3), "MultiInputPolicy"),
    ],
    ids=["discrete", "multi-discrete", "box", "box-2x2", "box-1x1", "multi-binary", "image", "codes", "dict"],
)
def test_ratio_is_one_whatever_the_spaces(observation_space: Any, action_space: Any, policy: str) -> None:
    """Would catch: observations or actions stored in another shape, order or type than they were acted on."""
    model = clock_model(observation_space, action_space, policy, n_steps=16)
    collect(model)
    assert difference(model) < AGREE
    model.train()


@pytest.mark.parametrize("options", [{"slots": 0}, {"spans": "fixed", "max_span": 100}, {"net_arch": [8]}], ids=str)
def test_ratio_is_one_whatever_the_core(options: dict[str, Any]) -> None:
    """Would catch: a control (no memory, fixed spans) that acts by other rules than it is trained by."""
    model = clock_model(policy_kwargs=options, n_steps=16)
    collect(model)
    assert difference(model) < AGREE


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("device", DEVICES)
def test_predict_sees_what_the_rollout_saw(device: str, core: str) -> None:
    """Would catch: a `predict` that keeps its state otherwise than the rollout does, from the first step on and over
    segment and episode ends: by the state it returns, the rollout's actions get the rollout's log-probabilities."""
    model = clock_model(device=device, policy_kwargs=CORES[core])
    collect(model)
    buffer = model.rollout_buffer
    state, policy = None, model.policy
    assert isinstance(buffer.obs, Tensor)
    steps = zip(buffer.obs, buffer.episode_starts, buffer.actions, buffer.log_prob, buffer.values, strict=True)
    for obs, starts, actions, log_prob, values in steps:
        with torch.no_grad():
            distribution = policy.get_distribution(obs, state, starts)
            assert (distribution.log_prob(actions) - log_prob).abs().max() < AGREE
            assert (policy.predict_values(obs, state, starts)[:, 0] - values).abs().max() < AGREE
        likeliest, state = model.predict(obs.cpu().numpy(), state, starts.cpu().numpy(), deterministic=True)
        assert (likeliest == distribution.mode().cpu().numpy()).all()
        assert state is not None
        assert {tensor.device.type for tensor in tensors_of(state.cache)} == {device}
