"""How long a state lives: span predictor, expire mask, span loss.

Source: Sukhbaatar et al. 2021, "Not All Memories are Created Equal: Learning to Forget by Expiring", arXiv 2105.06548.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from expire_span.precision import at_least_float32

Spans = Literal["learned", "fixed"]


class ExpireSpan(nn.Module):
    """Predicts the span of a state from the (normalised) state: e = max_span * sigmoid(w . h + b).

    With w = 0 and b = -ln(1/p - 1), every span starts at p * max_span, where the sigmoid has a live gradient.

    Args:
        dim: size of a state.
        max_span: the longest span, in steps.
        initial_span: p, the share of `max_span` that every span starts at.
        spans: `"learned"`, or `"fixed"` for a span of `max_span` everywhere: with `max_span` of the slots or more,
            what is seen is a sliding window of the slots, as in Transformer-XL.
    """

    def __init__(self, dim: int, max_span: float, initial_span: float = 0.1, spans: Spans = "learned") -> None:
        super().__init__()
        self.max_span = max_span
        self.to_expiration: nn.Linear | None = None
        if spans == "learned":
            self.to_expiration = nn.Linear(dim, 1)
            nn.init.zeros_(self.to_expiration.weight)
            nn.init.constant_(self.to_expiration.bias, -math.log(1 / initial_span - 1))

    def forward(self, states: Float[Tensor, "b n D"]) -> Float[Tensor, "b n"]:
        """Spans in steps, in [0, max_span]; float32 also under autocast, where bfloat16 would round ages."""
        states = at_least_float32(states)
        if self.to_expiration is None:
            return torch.full(states.shape[:-1], self.max_span, device=states.device, dtype=states.dtype)
        with torch.autocast(states.device.type, enabled=False):
            weight, bias = self.to_expiration.weight.to(states), self.to_expiration.bias.to(states)
            logits = functional.linear(states, weight, bias)
        return self.max_span * logits.squeeze(-1).sigmoid()


def expire_mask(
    spans: Float[Tensor, "*#shape"], ages: Float[Tensor, "*#shape"], ramp_length: float
) -> Float[Tensor, "*shape"]:
    """m = clamp(1 + (e - a) / R, 0, 1): a state's weight in attention; 0 for an infinite age."""
    return (1 + (spans - ages) / ramp_length).clamp(0, 1)


def log_mask(mask: Float[Tensor, "*shape"], power: float = 1.0) -> Float[Tensor, "*shape"]:
    """p ln m where m > 0, else -inf.

    Added to the attention logits, it multiplies the weights by m^p and renormalises them; p = 1 is the paper's. The
    logarithm is taken of 1 where m = 0, or its gradient would be NaN.

    Where attention is sharp, a state's weight after renormalisation stays near 1 until m^p is as small as the others'
    share, one in thousands: with p = 1 that is the last moment of the ramp, and the gradient of the span a rare spike.
    A higher power spreads it over the ramp.
    """
    live = mask > 0
    return power * torch.where(live, mask, 1).log().masked_fill(~live, -torch.inf)


READ = 0.5
"""Attention weight, of a head, from which on a state counts as read."""

REACHED = 0.9
"""Share of the longest span that is asked for at most: more of a sigmoid is a push that never ends."""


def read_shortfall(
    spans: Float[Tensor, "b n"],
    weights: Float[Tensor, "b h t n"],
    ages: Float[Tensor, "b t n"],
    margin: float,
    max_span: float,
) -> Float[Tensor, ""]:
    """By how many steps the spans of states that were read fall short of `margin` times the age they were read at.

    Ours, not the paper's. The reward's gradient holds a span that is about to be too short, and nothing else does: a
    state that is read long before it fades is worn away with those that are never read, and one that has faded before
    it was needed gives no gradient any more. By this, reading alone holds a span, and with a margin above 1 it grows
    until it is ample.

    Args:
        spans: e, in steps.
        weights: of attention, heads by queries by states.
        ages: of each state for each query; infinite in an empty slot, which is never read.
        margin: how many times the age that a state was read at it is to live.
        max_span: no span can be longer.

    Returns:
        The sum over states, a query.
    """
    was_read = weights.detach().amax(1) >= READ
    wanted = torch.where(was_read, ages, 0).amax(1) * margin
    return (wanted.clamp(max=REACHED * max_span) - spans).relu().sum() / ages.shape[:2].numel()


def span_loss(spans: Float[Tensor, "b n"], mask: Float[Tensor, "b t n"], ramp_length: float) -> Float[Tensor, ""]:
    """The sum of e / R over the states on the ramp (0 < m < 1), mean over queries.

    The span itself is charged, never what remains of it, which is infinite in an empty slot. A state that lives
    its life out is on the ramp for R steps, so it is charged its span once.

    Args:
        spans: e, in steps.
        mask: m of each state for each query, 0 where it isn't visible.
        ramp_length: R, in steps.
    """
    on_ramp = (mask > 0) & (mask < 1)
    return torch.where(on_ramp, spans[:, None], 0).sum(-1).mean() / ramp_length
