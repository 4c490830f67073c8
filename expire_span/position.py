"""Relative positions by age: as sinusoids (Vaswani et al. 2017, arXiv 1706.03762, section 3.5), and as a logarithm (Chi
et al. 2022, KERPLE, arXiv 2205.09921, the logarithmic kernel)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """The embedding (sin a f, cos a f) of the ages a = 0 .. seq_len - 1, f_k = 10000^(-2k / dim)."""

    table: Float[Tensor, "ages D"]

    def __init__(self, dim: int, seq_len: int) -> None:
        super().__init__()
        frequencies = 10000 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles = torch.arange(seq_len, dtype=torch.float64)[:, None] * frequencies
        table = torch.cat((angles.sin(), angles.cos()), dim=-1).float()
        # A function of the arguments alone: no part of the state dict.
        self.register_buffer("table", table, persistent=False)

    def forward(self) -> Float[Tensor, "ages D"]:
        return self.table


def gather_by_age(scores: Float[Tensor, "b h t ages"], ages: Float[Tensor, "b t n"]) -> Float[Tensor, "b h t n"]:
    """A query's position score for each state by that state's age; 0 for ages of `seq_len` and more.

    Depends on the age alone, never on where a segment was cut. An infinite age (empty slot) or a negative one (a
    later step) never becomes an index: it would be garbage.
    """
    seq_len = scores.shape[-1]
    near = (ages >= 0) & (ages < seq_len)
    # What has no position takes any place, each another one: the gradient adds to these places, and additions to
    # the same one wait for each other.
    elsewhere = torch.arange(ages.shape[-1], device=ages.device) % seq_len
    index = torch.where(near, ages, elsewhere).long()[:, None].expand(-1, scores.shape[1], -1, -1)
    return scores.gather(-1, index).masked_fill(~near[:, None], 0)


def log_ages(ages: Float[Tensor, "b t n"], dtype: torch.dtype) -> Float[Tensor, "b t n"]:
    """ln(1 + a): what is twice as old is as much farther away, near or far. 0 for an empty slot and a later step.

    In float32, or the wider `dtype` of what it is added to.
    """
    ages = ages.to(torch.promote_types(dtype, torch.float32))
    return torch.where(ages.isfinite(), ages, 0).clamp(min=0).log1p()
