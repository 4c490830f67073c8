"""Positions that count what is alive."""

import pytest
import torch

from expire_span import ExpireSpanCore
from expire_span.position import log_positions

INF = torch.inf


def test_positions_by_hand() -> None:
    """Would catch a state that counts itself, a later step, an older state, or an order by slots."""
    ages = torch.tensor([[[1.0, INF, 4, 0, -1], [2.0, INF, 5, 1, 0]]])
    mask = torch.tensor([[[0.5, 0, 1, 1, 0], [0, 0, 0.25, 1, 1]]])
    positions = log_positions(mask, ages).exp() - 1
    live = mask > 0
    assert positions[live].tolist() == pytest.approx([1, 1.5, 0, 2, 1, 0])


def test_while_all_is_alive_a_position_is_the_age() -> None:
    """Would catch a count that starts at the wrong state: a Transformer-XL has the positions of KERPLE."""
    ages = (torch.arange(9).flip(0) - torch.arange(3).flip(0)[:, None]).float()[None]
    positions = log_positions((ages >= 0).float(), ages)
    seen = ages >= 0
    torch.testing.assert_close(positions[seen], (1 + ages[seen]).log())


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
