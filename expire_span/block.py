"""One layer: pre-norm attention over memory and segment, pre-norm feed-forward."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from expire_span.attention import Backend, CausalAttention, Projection, Projections, joined
from expire_span.settings import CoreSettings
from expire_span.span import ExpireSpan, expire_mask, log_mask


class FeedForward(nn.Module):
    """Linear, GELU, Linear, `mult` times as wide inside."""

    def __init__(self, dim: int, mult: int = 4) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, dim * mult), nn.GELU(), nn.Linear(dim * mult, dim))

    def forward(self, states: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        output: Float[Tensor, "*batch D"] = self.net(states)
        return output


class Attended(NamedTuple):
    """What a layer makes of a segment."""

    output: Float[Tensor, "b t D"]
    mask: Float[Tensor, "b t n"]
    """The expire mask of each state for each query, 0 where it isn't visible."""
    weights: Float[Tensor, "b h t n"] | None
    """Attention weights; only of the plain back-end."""


class ExpireSpanBlock(nn.Module):
    """A layer of the core. The memory is normalised by the same norm as the segment, spans are read from there."""

    def __init__(self, settings: CoreSettings) -> None:
        super().__init__()
        dim = settings.dim
        self.ramp_length, self.ramp_power = settings.ramp_length, settings.ramp_power
        self.ramp_gradient = settings.ramp_gradient
        self.norm = nn.LayerNorm(dim)
        self.expire_span = ExpireSpan(dim, settings.max_span, settings.starting_share, settings.spans)
        self.attention = CausalAttention(
            dim, settings.heads, settings.seq_len, settings.backend, settings.log_position, settings.count_matches
        )
        self.norm_feedforward = nn.LayerNorm(dim)
        self.feedforward = FeedForward(dim)

    def project(self, normed: Float[Tensor, "b n D"]) -> Projection:
        """Keys, values and spans of states that `norm` has been applied to."""
        return Projection(*self.attention.project(normed), self.expire_span(normed))

    def forward(
        self,
        states: Float[Tensor, "b t D"],
        normed: Float[Tensor, "b t D"],
        projections: Projections,
        ages: Float[Tensor, "b t n"],
        visible: Float[Tensor, "b t n"] | None,
        backend: Backend | None = None,
    ) -> Attended:
        """The layer's output for a segment of states (`normed` is made of them, and `projections` of all states).

        From one query to the next all `ages` grow by one; the last t are the segment's own.
        One call serves a whole segment and a single step (t = 1) alike: what differs, which states are visible (1, else
        0; None: all) and where keys and values come from, is the caller's.
        """
        spans = joined([projection.spans for projection in projections], dim=-1)
        spans = spans if self.ramp_gradient else spans.detach()
        mask = expire_mask(spans[:, None], ages, self.ramp_length)
        if visible is not None:
            mask = mask * visible
        attended, weights = self.attention(normed, projections, ages, log_mask(mask, self.ramp_power), mask, backend)
        states = states + attended
        states = states + self.feedforward(self.norm_feedforward(states))
        return Attended(states, mask, weights)
