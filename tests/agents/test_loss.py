"""PPO's loss of a minibatch."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from agents import ExpireSpanPPO
from agents.loss import Weights, ppo_loss
from tests.agents.models import clock_model, collect


def policy_gradient(model: ExpireSpanPPO, min_advantage_std: float) -> Tensor:
    """Of the surrogate alone, by the weights of the action head."""
    batch = model.rollout_buffer.minibatch(torch.arange(6))
    weights = Weights.of(model.device, 0.2, None, ent_coef=0.0, vf_coef=0.0, span_coef=0.0, read_loss_coef=0.0)
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


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf"), 1e39, True])
def test_a_least_deviation_that_cannot_be_is_refused(wrong: object) -> None:
    """Would catch: a training whose advantages all are NaN, or turned round."""
    with pytest.raises(ValueError, match=r"min_advantage_std=.* must be a finite number between 0 and 1e\+30"):
        clock_model(min_advantage_std=wrong)


@pytest.mark.parametrize(("least", "learns"), [(0.0, True), (1e9, False)])
def test_the_least_deviation_is_that_of_the_training(least: float, learns: bool) -> None:
    """Would catch: an argument that is kept, saved and shown, and that no update is made with."""
    alone: dict[str, Any] = {"ent_coef": 0.0, "vf_coef": 0.0, "expire_loss_coef": 0.0, "read_loss_coef": 0.0}
    # Adam would move a weight as far by a gradient of any size.
    sgd = {"optimizer_class": torch.optim.SGD}
    model = clock_model(min_advantage_std=least, learning_rate=0.1, policy_kwargs=sgd, **alone)
    collect(model)
    before = parameters_to_vector(model.policy.action_net.parameters()).clone()
    model.train()
    assert torch.allclose(parameters_to_vector(model.policy.action_net.parameters()), before, atol=1e-6) != learns
