"""Positions that count what is alive, and what is looked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expire_span import ExpireSpanCore
from expire_span.attention import CausalAttention, Projection
from expire_span.position import log_positions, newest_first_by_pairs, newest_first_by_sorting

INF = torch.inf


def test_positions_by_hand() -> None:
    """Would catch a state that counts itself, a later step, an older state, an order by slots, or one head's counts in
    another's positions."""
    ages = torch.tensor([[[1.0, INF, 4, 0, -1], [2.0, INF, 5, 1, 0]]])
    counts = torch.tensor([[[[0.5, 0, 1, 1, 0], [0, 0, 0.25, 1, 1]], [[0.25, 0, 1, 0.5, 0], [0, 0, 0.25, 0, 0.5]]]])
    positions = log_positions(counts, ages).exp() - 1
    assert positions[0, 0][counts[0, 0] > 0].tolist() == pytest.approx([1, 1.5, 0, 2, 1, 0])
    assert positions[0, 1][counts[0, 1] > 0].tolist() == pytest.approx([0.5, 0.75, 0, 0.5, 0])


def test_while_all_counts_a_position_is_the_age() -> None:
    """Would catch a count that starts at the wrong state: a Transformer-XL has the positions of KERPLE."""
    ages = (torch.arange(9).flip(0) - torch.arange(3).flip(0)[:, None]).float()[None]
    positions = log_positions((ages >= 0).float()[:, None], ages)
    seen = ages >= 0
    torch.testing.assert_close(positions[:, 0][seen], (1 + ages[seen]).log())


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, INF]), min_size=7, max_size=7), min_size=1, max_size=3)
)
def test_the_order_is_the_same_however_it_is_made(ages: list[list[float]]) -> None:
    """Would catch states that are lost or doubled where ages are alike, as those of empty slots, on CUDA alone."""
    of_all = torch.tensor(ages)
    by_sorting = newest_first_by_sorting(of_all)
    assert newest_first_by_pairs(of_all).tolist() == by_sorting.tolist()
    assert by_sorting.tolist() == [sorted(range(7), key=row.__getitem__) for row in ages]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), past=st.integers(0, 9), steps=st.integers(1, 6))
def test_a_position_is_never_negative_nor_infinite(seed: int, past: int, steps: int) -> None:
    """Would catch a sum that rounding takes below 0, or below -1, whose logarithm isn't a number."""
    rng = torch.Generator().manual_seed(seed)
    times = torch.cat((torch.randperm(past, generator=rng), past + torch.arange(steps))).float()
    ages = (times[past:, None] - times).expand(1, -1, -1)
    counts = torch.rand(1, 2, steps, past + steps, generator=rng).pow(9) * (ages >= 0)[:, None]
    positions = log_positions(counts, ages)
    assert bool((positions >= 0).all())
    assert bool((positions <= (past + steps + 1.0)).all())


@pytest.mark.parametrize("way", [30, 300])
def test_a_cue_is_read_alike_however_long_the_way_was(way: int) -> None:
    """What an agent needs on corridors longer than in training. Would catch positions that count what has expired."""
    torch.manual_seed(0)
    core = ExpireSpanCore(
        16, depth=1, heads=2, slots=8, max_span=1000, ramp_length=2, seq_len=4, read_margin=2, log_position=True
    ).double()
    (block,) = core._layers
    cue, cell, fork = torch.randn(3, 16, dtype=torch.double)
    span = block.expire_span.to_expiration
    assert span is not None
    with torch.no_grad():
        assert block.attention.to_log_pos is not None
        block.attention.to_log_pos.normal_()
        # The cue's state lives to the end, every other's for a few steps.
        difference = block.norm(cue) - block.norm(cell)
        span.weight.copy_(20 * difference / difference.square().sum())
        span.bias.copy_(-5 - span.weight @ block.norm(cell))
        assert block.expire_span(block.norm(cue)[None, None]).item() > 900
        assert block.expire_span(block.norm(cell)[None, None]).item() < 10

    def at_the_fork(cells: int) -> torch.Tensor:
        stream = torch.cat((cue[None], cell.expand(cells, -1), fork[None]))
        return core(stream[None]).output[0, -1]

    torch.testing.assert_close(at_the_fork(way), at_the_fork(20))


@pytest.mark.parametrize("alive", [0, 3, 9])
def test_of_two_cues_the_newer_is_read_alike_whatever_else_is_alive(alive: int) -> None:
    """Would catch positions that count what the query doesn't look for: on corridors of twice the length, where other
    states between two cues have expired, the older cue came nearer, and was taken for the newer."""
    torch.manual_seed(0)
    attention = CausalAttention(8, heads=1, seq_len=2, log_position=True, count_matches=True).double()
    assert attention.to_log_pos is not None
    assert attention.count_threshold is not None
    query, value = torch.eye(8, dtype=torch.double)[:2]
    with torch.no_grad():
        attention.count_threshold.fill_(5)
        attention.to_log_pos.copy_(-2 * query)
        for layer in (attention.to_pos, attention.to_q):
            layer.weight.zero_()
            layer.bias.zero_()
        attention.to_q.bias.copy_(8**0.5 * query)
    cue, other = 10 * query, -30 * query
    keys = torch.stack((cue, *[other] * alive, cue))
    values = torch.stack((value, *[0 * value] * alive, 0 * value))
    past = Projection(keys[None, None], values[None, None], torch.zeros(1, alive + 2))
    own = Projection(other[None, None, None], 0 * value[None, None, None], torch.zeros(1, 1))
    ages = torch.arange(20.0 + alive + 2, 20, -1, dtype=torch.double)
    ages = torch.cat((ages, torch.zeros(1))).double()[None, None]
    mask = torch.ones_like(ages)
    with torch.no_grad():
        _, weights = attention(torch.zeros(1, 1, 8).double(), [past, own], ages, mask.log(), mask)
    assert weights is not None
    older, newer = weights[0, 0, 0, 0], weights[0, 0, 0, alive + 1]
    # ln(1 + c) by a slope of -2; of the older cue c is the gate of the newer one, 10 less the threshold, and no more.
    assert float(newer / older) == pytest.approx((1 + torch.tensor(5.0).sigmoid().item()) ** 2, rel=1e-6)
    assert float(newer + older) == pytest.approx(1)
