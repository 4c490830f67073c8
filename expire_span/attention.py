"""Multi-head attention over remembered and own states, by age and expire mask; three back-ends, one result.

Letters: b batch, t queries (the segment's steps), s remembered states, n = s + t states, h heads, d dim of a head.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention

from expire_span.position import SinusoidalEmbedding, log_positions, position_scores
from expire_span.precision import at_least_float32

Backend = Literal["plain", "sdpa", "flex"]

SHARPNESS = 3.0
"""Standard deviation of the scores at the start, of states whose parts have a variance of 1."""

NO_FLEX_GRADIENT = (
    "backend='flex' can't be trained with: FlexAttention has no gradient on the CPU, and had a wrong one for a score "
    "function of ours on CUDA (measured with PyTorch 2.11); take 'plain' or 'sdpa'"
)


class Projection(NamedTuple):
    """What attention needs of a set of states."""

    keys: Float[Tensor, "b h n d"]
    values: Float[Tensor, "b h n d"]
    spans: Float[Tensor, "b n"]


Projections = Sequence[Projection]
"""Of all states, one part after the other: the parts are multiplied apart, so that no step copies the cache of keys and
values to add its own."""


class CausalAttention(nn.Module):
    """softmax_i((q . k_i + q . W sin(a_i) + q . w l_i) / sqrt(d) + ln m_i) over remembered and own states; the term
    with w only if there are logarithmic positions l (see `expire_span.position.log_positions`), of which state j counts
    m_j, or m_j sigmoid(q . k_j / sqrt(d) - threshold).

    Args:
        dim: size of a state; a multiple of `heads`.
        heads: number of heads.
        seq_len: ages below it have a relative position, as sinusoids; older states have none of these.
        log_position: states have one by the logarithm of how many live states are newer, too.
        count_matches: of these only what matches the query counts, by a threshold that each head learns.
        backend: `"plain"` (matrix products and softmax; the only one that tells its weights), `"sdpa"`
            (`scaled_dot_product_attention`) or `"flex"`
            (FlexAttention; without gradients: see `NO_FLEX_GRADIENT`).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        seq_len: int,
        backend: Backend = "plain",
        log_position: bool = False,
        count_matches: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.backend = backend
        self.embedding = SinusoidalEmbedding(dim, seq_len)
        self.to_pos = nn.Linear(dim, dim // heads)
        # Neither the newer nor the older is preferred at first.
        self.to_log_pos = nn.Parameter(torch.zeros(dim // heads)) if log_position else None
        # At first most of what is alive counts: 0.8 of a state in the mean, as scores vary by `SHARPNESS`.
        self.count_threshold = nn.Parameter(torch.full((heads,), -3.0)) if log_position and count_matches else None
        self.to_q = nn.Linear(dim, dim)
        self.to_kv = nn.Linear(dim, dim * 2)
        self.to_out = nn.Linear(dim, dim)
        self._start_sharp()

    def _start_sharp(self) -> None:
        """Lets a query see a few states rather than the mean of all.

        With PyTorch's own start the scores are near 0: a cue among some twenty states is a twentieth of what is read,
        and made smaller still by values and output. Until it is noticed nothing is learned from it.
        """
        keys, values = self.to_kv.weight.detach().chunk(2)
        for weight, gain in ((self.to_q.weight, SHARPNESS**0.5), (keys, SHARPNESS**0.5), (values, 1.0)):
            nn.init.orthogonal_(weight, gain)
        nn.init.orthogonal_(self.to_out.weight)

    def project(self, states: Float[Tensor, "b n D"]) -> tuple[Float[Tensor, "b h n d"], Float[Tensor, "b h n d"]]:
        """Keys and values of (normalised) states."""
        keys, values = rearrange(self.to_kv(states), "b n (two h d) -> two b h n d", two=2, h=self.heads)
        return keys, values

    def forward(
        self,
        states: Float[Tensor, "b t D"],
        projections: Projections,
        ages: Float[Tensor, "b t n"],
        log_mask: Float[Tensor, "b t n"],
        mask: Float[Tensor, "b t n"],
        backend: Backend | None = None,
    ) -> tuple[Float[Tensor, "b t D"], Float[Tensor, "b h t n"] | None]:
        """Attends from `states` to what was remembered and to themselves; the weights too, if plain.

        Args:
            states: (normalised) states of the segment.
            projections: of all states, `states` last.
            ages: age of each state for each query: one more than for the query before; the last are the queries' own.
            log_mask: ln m, -inf for what a query doesn't see.
            mask: m, 0 for what a query doesn't see; logarithmic positions are made of it.
            backend: instead of the module's own.
        """
        queries = rearrange(self.to_q(states), "b t (h d) -> b h t d", h=self.heads)
        queries = queries * queries.shape[-1] ** -0.5
        bias = log_mask[:, None]
        with torch.autocast(states.device.type, enabled=False):
            exact = at_least_float32(queries)
            positions = position_scores(exact, at_least_float32(self.to_pos(self.embedding())), ages)
            if self.to_log_pos is not None:
                # Spans learn nothing from being counted.
                counts = mask.detach()[:, None]
                if self.count_threshold is not None:
                    matches = _by_content(exact, projections) - self.count_threshold[:, None, None]
                    counts = counts * matches.sigmoid()
                slopes = exact @ at_least_float32(self.to_log_pos)
                bias = bias + slopes[..., None] * log_positions(counts, ages)
        attend = _BACKENDS[backend or self.backend]
        attended, weights = attend(queries, projections, positions + bias)
        return self.to_out(rearrange(attended, "b h t d -> b t (h d)")), weights


# Each back-end takes scaled queries (b h t d), projections, and what is added to the scores (b h t n).
_Attend = Callable[[Tensor, Projections, Tensor], tuple[Tensor, Tensor | None]]


def _plain(queries: Tensor, projections: Projections, bias: Tensor) -> tuple[Tensor, Tensor]:
    # Where attention is sharp, scores are large: in bfloat16 they would be rounded by more than acting and training
    # may differ.
    with torch.autocast(queries.device.type, enabled=False):
        scores = _by_content(at_least_float32(queries), projections)
    weights = (scores + bias).softmax(-1)
    # A cache made under autocast, or without, is read under the other in the precision of the segment's own values.
    dtype = projections[-1].values.dtype
    shares = weights.to(dtype).split([keys.shape[2] for keys, _, _ in projections], dim=-1)
    attended = [_product(share, values.to(dtype)) for share, (_, values, _) in zip(shares, projections, strict=True)]
    return sum(attended[1:], start=attended[0]), weights


def _by_content(queries: Float[Tensor, "b h t d"], projections: Projections) -> Float[Tensor, "b h t n"]:
    """Products of the queries, of float32 at least, and all keys."""
    return joined([_product(queries, at_least_float32(keys).mT) for keys, _, _ in projections], dim=-1)


def _product(rows: Float[Tensor, "b h t i"], matrix: Float[Tensor, "b h i j"]) -> Float[Tensor, "b h t j"]:
    """A matrix product; of a single row as a sum where that compiles to one pass over the matrix, or runs on CUDA.

    CUDA's library takes four times as long for a row by a small matrix, batch after batch.
    """
    if rows.shape[2] == 1 and (rows.is_cuda or torch.compiler.is_compiling()):
        return (rows.mT * matrix).sum(2, keepdim=True)
    return rows @ matrix


def _sdpa(queries: Tensor, projections: Projections, bias: Tensor) -> tuple[Tensor, None]:
    keys, values = map(at_least_float32, _keys_and_values(projections))
    with torch.autocast(queries.device.type, enabled=False):
        exact = at_least_float32(queries)
        attended = functional.scaled_dot_product_attention(exact, keys, values, attn_mask=bias.to(exact), scale=1.0)
    return attended.to(queries.dtype), None


def _flex(queries: Tensor, projections: Projections, bias: Tensor) -> tuple[Tensor, None]:
    if torch.is_grad_enabled() and (queries.requires_grad or projections[-1].keys.requires_grad):
        raise ValueError(NO_FLEX_GRADIENT)
    keys, values = _keys_and_values(projections)

    def score(dots: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return dots + bias[b, h, q, k]

    attended = _compiled_flex()(queries, keys, values, score_mod=score, scale=1.0)
    assert isinstance(attended, Tensor)
    return attended, None


@lru_cache(maxsize=1)
def _compiled_flex() -> Callable[..., Tensor]:
    # Compiled on first use only: without it FlexAttention is a slow and memory-hungry reference. With dynamic
    # shapes torch 2.13's template for the CPU doesn't compile.
    return torch.compile(flex_attention, dynamic=False)


def joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    """The parts one after the other; a single one as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts), dim)


def _keys_and_values(projections: Projections) -> tuple[Tensor, Tensor]:
    keys, values, _ = zip(*projections, strict=True)
    return joined(keys, dim=2), joined(values, dim=2)


_BACKENDS: dict[str, _Attend] = {"plain": _plain, "sdpa": _sdpa, "flex": _flex}
