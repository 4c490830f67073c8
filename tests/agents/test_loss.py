"""PPO's loss of a minibatch."""

import pytest
import torch
from torch import Tensor

from agents import ExpireSpanPPO
from agents.loss import Weights, ppo_loss
from tests.agents.models import clock_model, collect


def policy_gradient(model: ExpireSpanPPO, min_advantage_std: float) -> Tensor:
    """Of the surrogate alone, by the weights of the action head."""
    batch = model.rollout_buffer.minibatch(torch.arange(6))
    weights = Weights.of(model.device, 0.2, None, ent_coef=0.0, vf_coef=0.0, span_coef=0.0, read_coef=0.0)
    loss = ppo_loss(model.policy, batch, weights, True, min_advantage_std).loss
    return torch.autograd.grad(loss, list(model.policy.action_net.parameters()))[0]


def test_advantages_are_divided_by_no_less_than_asked_for() -> None:
    """Would catch: a least deviation that is added, or that replaces one that is greater."""
    model = clock_model()
    collect(model)
    model.policy.set_training_mode(True)
    std = model.rollout_buffer.minibatch(torch.arange(6)).advantages.std().item()
    as_it_is = policy_gradient(model, 0.0)
    assert as_it_is.abs().amax() > 1e-3
    assert torch.equal(policy_gradient(model, std / 2), as_it_is)
    torch.testing.assert_close(policy_gradient(model, std * 3), as_it_is / 3)


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf"), True])
def test_a_least_deviation_that_cannot_be_is_refused(wrong: object) -> None:
    """Would catch: a training whose advantages all are NaN, or turned round."""
    with pytest.raises(ValueError, match=r"min_advantage_std=.* must be a finite number, at least 0"):
        clock_model(min_advantage_std=wrong)
