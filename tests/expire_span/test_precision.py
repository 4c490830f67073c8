"""What stays in float32 under autocast to bfloat16."""

import pytest
import torch
from torch import Tensor

from expire_span.attention import CausalAttention, Projection


@pytest.mark.parametrize("log_position", [False, True], ids=["by age", "by count too"])
def test_large_scores_keep_their_precision_under_autocast(log_position: bool) -> None:
    """Would catch: scores that are rounded to bfloat16. Where attention is sharp they are large, and two states whose
    scores differ by half a unit become one, or change places: trainings lost all that they had learned by it."""
    torch.manual_seed(0)
    attention = CausalAttention(dim=64, heads=4, seq_len=8, log_position=log_position)
    kept: dict[str, Tensor] = {}
    with torch.no_grad():
        attention.to_q.weight *= 8
        attention.to_kv.weight *= 8
        if attention.to_log_pos is not None:
            attention.to_log_pos.normal_()
    states = torch.randn(2, 16, 64)
    ages = (torch.arange(16.0)[:, None] - torch.arange(16.0)).expand(2, 16, 16)
    mask = (ages >= 0).float()
    log_mask = torch.where(ages >= 0, 0, -torch.inf)
    handle = attention.to_q.register_forward_hook(lambda _module, _inputs, out: kept.update(queries=out))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        own = Projection(*attention.project(states), torch.zeros(2, 16))
        nothing = Projection(own.keys[:, :, :0], own.values[:, :, :0], torch.zeros(2, 0))
        _, weights = attention(states, nothing, own, ages, log_mask, mask)
        positions = attention.to_pos(attention.embedding())
    handle.remove()
    assert weights is not None
    assert own.keys.dtype == torch.bfloat16, "nothing was rounded, so the test can't fail"

    queries = kept["queries"].double().unflatten(-1, (4, 16)).transpose(1, 2) / 4
    scores = queries @ own.keys.double().mT
    assert scores.abs().amax() > 100, "the scores aren't large, so the test can't fail"
    by_age = queries @ positions.double().T
    near = (ages >= 0) & (ages < 8)
    index = ages.clamp(0, 7).long()[:, None].expand(-1, 4, -1, -1)
    scores += torch.where(near[:, None], by_age.gather(-1, index), 0)
    if attention.to_log_pos is not None:
        slopes = queries @ attention.to_log_pos.detach().double()
        scores += slopes[..., None] * ages.clamp(min=0).double().log1p()[:, None]
    expected = (scores + log_mask[:, None].double()).softmax(-1)
    assert (weights - expected).abs().amax() < 0.01
