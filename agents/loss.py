"""PPO's loss of a minibatch of segments, spans included; a function of tensors, so that it compiles whole."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from agents.policies import ExpireSpanActorCriticPolicy
from agents.rollout import Minibatch


class Weights(NamedTuple):
    """What changes from rollout to rollout, as tensors: a number would be compiled in, and compiled anew."""

    clip_range: Float[Tensor, ""]
    clip_range_vf: Float[Tensor, ""] | None
    """None: the value isn't clipped."""
    ent_coef: Float[Tensor, ""]
    vf_coef: Float[Tensor, ""]
    span_coef: Float[Tensor, ""]
    read_loss_coef: Float[Tensor, ""]

    @staticmethod
    def of(
        device: torch.device,
        clip_range: float,
        clip_range_vf: float | None,
        ent_coef: float,
        vf_coef: float,
        span_coef: float,
        read_loss_coef: float,
    ) -> "Weights":
        """These numbers on a device, in one copy."""
        numbers = torch.tensor(
            (clip_range, 0.0 if clip_range_vf is None else clip_range_vf, ent_coef, vf_coef, span_coef, read_loss_coef),
            device=device,
        ).unbind()
        return Weights(numbers[0], None if clip_range_vf is None else numbers[1], *numbers[2:])


class LossParts(NamedTuple):
    """The loss and what it is made of, for the log."""

    loss: Float[Tensor, ""]
    policy_gradient_loss: Float[Tensor, ""]
    value_loss: Float[Tensor, ""]
    entropy_loss: Float[Tensor, ""]
    mean_span: Float[Tensor, ""]
    """Of the states, in steps; 0 of a core without spans."""
    read_shortfall: Float[Tensor, ""]
    """Steps that spans of states that were read fall short, a step; 0 of a core without spans, or a margin."""
    approx_kl: Float[Tensor, ""]
    """Schulman's low-variance estimate, http://joschu.net/blog/kl-approx.html"""
    clip_fraction: Float[Tensor, ""]


def ppo_loss(
    policy: ExpireSpanActorCriticPolicy,
    batch: Minibatch,
    weights: Weights,
    normalize_advantage: bool,
    min_advantage_std: float,
) -> LossParts:
    """The clipped surrogate, value and entropy losses (Schulman et al. 2017, arXiv 1707.06347, equation 9), and what
    spans cost and fall short of.

    Args:
        policy: as it is now.
        batch: whole segments.
        weights: of the parts.
        normalize_advantage: to mean 0 and deviation 1 in the minibatch.
        min_advantage_std: the least that they are divided by then.
    """
    now = policy.evaluate_segments(batch.obs, batch.actions, batch.memory, batch.episode_starts, batch.action_masks)
    advantages = batch.advantages
    if normalize_advantage and advantages.numel() > 1:
        advantages = (advantages - advantages.mean()) / (advantages.std().clamp(min=min_advantage_std) + 1e-8)
    log_ratio = now.log_prob - batch.old_log_prob
    ratio, clip = log_ratio.exp(), weights.clip_range
    policy_loss = -torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
    values = now.values
    if weights.clip_range_vf is not None:
        change = (values - batch.old_values).clamp(-weights.clip_range_vf, weights.clip_range_vf)
        values = batch.old_values + change
    value_loss = functional.mse_loss(values, batch.returns)
    entropy = -now.log_prob.mean() if now.entropy is None else now.entropy.mean()
    loss = policy_loss - weights.ent_coef * entropy + weights.vf_coef * value_loss
    loss = loss + weights.span_coef * now.mean_span + weights.read_loss_coef * now.read_shortfall
    approx_kl = (ratio - 1 - log_ratio).mean()
    clip_fraction = ((ratio - 1).abs() > clip).float().mean()
    parts = (policy_loss, value_loss, -entropy, now.mean_span, now.read_shortfall, approx_kl, clip_fraction)
    return LossParts(loss, *(part.detach() for part in parts))
