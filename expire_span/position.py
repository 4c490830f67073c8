"""Relative positions: by age as sinusoids (Vaswani et al. 2017, arXiv 1706.03762, section 3.5), and by the logarithm of
what counts in between.

The logarithm is KERPLE's kernel (Chi et al. 2022, arXiv 2205.09921). That a position counts what matters, and not what
passed, is from contextual position encoding (Golovneva et al. 2024, CoPE, arXiv 2405.18719, equations 3 and 4), where a
gate says what counts; here the expire mask does, and if wanted such a gate, with a threshold, too.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class SinusoidalEmbedding(nn.Module):
    """The embedding (sin a f, cos a f) of the ages a = seq_len - 1, ..., 0, f_k = 10000^(-2k / dim)."""

    table: Float[Tensor, "ages D"]

    def __init__(self, dim: int, seq_len: int) -> None:
        super().__init__()
        frequencies = 10000 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles = torch.arange(seq_len - 1, -1, -1, dtype=torch.float64)[:, None] * frequencies
        table = torch.cat((angles.sin(), angles.cos()), dim=-1).float()
        # A function of the arguments alone: no part of the state dict.
        self.register_buffer("table", table, persistent=False)

    def forward(self) -> Float[Tensor, "ages D"]:
        return self.table


def position_scores(
    queries: Float[Tensor, "b h t d"], embedding: Float[Tensor, "ages d"], ages: Float[Tensor, "b t n"]
) -> Float[Tensor, "b h t n"]:
    """A query's products with the embeddings of the states' ages; 0 for ages of `seq_len` and more.

    Depends on the age alone, never on where a segment was cut. An infinite age (empty slot) or a negative one (a
    later step) has the score 0.

    From one query to the next all ages grow by one. So with each query's scores shifted by one against those of the
    query before (Dai et al. 2019, Transformer-XL, arXiv 1901.02860, appendix B), those of a state are a column: of the
    segment's own states one after the other, of what was remembered wherever its age says. A score looked up for each
    query and state would cost a gradient that adds them up again one by one.

    Args:
        queries: scaled.
        embedding: of the ages `seq_len - 1`, ..., 0.
        ages: of each state for each query; the last t states are the queries themselves.
    """
    steps, seq_len = queries.shape[-2], len(embedding)
    # A row for each query, and t columns of zeros behind: cut one column shorter, each row begins one later. A single
    # row stays where it is.
    by_age = queries @ functional.pad(embedding, (0, 0, 0, steps if steps > 1 else 0)).T
    columns = seq_len + steps - 1
    shifted = by_age.flatten(-2)[..., : steps * columns].unflatten(-1, (steps, columns))
    # Column c of the first query, whose own state's is the last that has a score, is of the age seq_len - 1 - c.
    first = ages[:, 0, :-steps]
    near = first < seq_len
    # What has no position takes any column, each another one: the gradient adds to these columns, and additions to
    # the same one wait for each other.
    elsewhere = torch.arange(first.shape[-1], device=ages.device) % seq_len
    column = torch.where(near, seq_len - 1 - first, elsewhere).long()[:, None, None]
    remembered = shifted.gather(-1, column.expand(-1, *queries.shape[1:3], -1)).masked_fill(~near[:, None, None], 0)
    return torch.cat((remembered, shifted[..., seq_len - 1 :]), dim=-1)


def log_positions(counts: Float[Tensor, "b h t n"], ages: Float[Tensor, "b t n"]) -> Float[Tensor, "b h t n"]:
    """ln(1 + c), c the sum of what the states count that are newer, the query's own included.

    While everything is alive and counts, c is the age. Once what isn't needed expires, what is needed keeps its
    position however long the way was, so that attention finds it at ages that it has never met. Where only what the
    query looks for counts, the newest of it has position 0 and the one before it ln 2, whatever else lives on.

    Args:
        counts: in [0, 1], how much each state counts for each query; 0 where it isn't visible.
        ages: of each state for each query; infinite in an empty slot.
    """
    # The order is the same for every query.
    newest_first = newest_first_by_pairs if torch.compiler.is_compiling() and ages.is_cuda else newest_first_by_sorting
    order = newest_first(ages[:, -1])[:, None, None].expand_as(counts)
    ordered = counts.gather(-1, order)
    newer = ordered.cumsum(-1) - ordered
    return torch.zeros_like(newer).scatter(-1, order, newer.log1p())


def newest_first_by_sorting(ages: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """The states from the youngest on; those of one age, such as empty slots, as they come."""
    return ages.argsort(dim=-1, stable=True)


def newest_first_by_pairs(ages: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    """The same for Inductor on CUDA, which makes of a sort a network of exchanges that is slow to compile.

    Comparisons of each with each it fuses into one pass, and holds no n by n numbers at any time.
    """
    index = torch.arange(ages.shape[-1], device=ages.device)
    one, other = ages[..., None], ages[:, None]
    place = ((other < one) | ((other == one) & (index < index[:, None]))).sum(-1)
    return torch.empty_like(place).scatter(-1, place, index.expand_as(place))
