"""What stays in float32 under autocast to bfloat16."""

import pytest
import torch
from torch import Tensor

from expire_span.attention import Backend, CausalAttention, Projection
from expire_span.core import ExpireSpanCore
from expire_span.position import log_positions

HEADS, PART, PAST, STEPS, NEAR = 4, 16, 12, 16, 8


@pytest.mark.parametrize("backend", ["plain", "sdpa"])
@pytest.mark.parametrize("large", ["keys", "by age", "by count"])
def test_large_scores_keep_their_precision_under_autocast(large: str, backend: Backend) -> None:
    """Would catch: scores, or a part of them, that are rounded to bfloat16. Where attention is sharp they are large,
    and two states whose scores differ by half a unit become one, or change places: trainings lost all that they had
    learned by it."""
    torch.manual_seed(0)
    attention = CausalAttention(HEADS * PART, HEADS, NEAR, backend, log_position=True, count_matches=True)
    assert attention.to_log_pos is not None
    assert attention.count_threshold is not None
    with torch.no_grad():
        attention.to_log_pos.normal_()
        attention.to_q.weight *= 8
        attention.to_kv.weight[: HEADS * PART] *= {"keys": 8, "by age": 0.1, "by count": 0.1}[large]
        attention.to_pos.weight *= {"keys": 1, "by age": 60, "by count": 1}[large]
        attention.to_log_pos.mul_({"keys": 1, "by age": 1, "by count": 20}[large])
    states = torch.randn(2, PAST + STEPS, HEADS * PART)
    times = torch.arange(float(PAST + STEPS))
    ages = (times[PAST:, None] - times).expand(2, STEPS, PAST + STEPS)
    mask = (ages >= 0).float()
    log_mask = torch.where(ages >= 0, 0, -torch.inf)
    seen: dict[str, Tensor] = {}
    attention.to_q.register_forward_hook(lambda _module, _inputs, out: seen.update(queries=out))
    attention.to_out.register_forward_pre_hook(lambda _module, inputs: seen.update(attended=inputs[0]))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        all_keys, all_values = attention.project(states)
        past = Projection(all_keys[:, :, :PAST], all_values[:, :, :PAST], torch.zeros(2, PAST))
        own = Projection(all_keys[:, :, PAST:], all_values[:, :, PAST:], torch.zeros(2, STEPS))
        attention(states[:, PAST:], [past, own], ages, log_mask, mask)
    assert own.keys.dtype == torch.bfloat16, "nothing was rounded, so the test can't fail"

    keys, values = all_keys.double(), all_values.double()
    queries = seen["queries"].double().unflatten(-1, (HEADS, PART)).transpose(1, 2) / PART**0.5
    with torch.no_grad():
        by_age = queries @ attention.to_pos(attention.embedding().flip(0)).double().T
    near = ((ages >= 0) & (ages < NEAR))[:, None]
    index = ages.clamp(0, NEAR - 1).long()[:, None].expand(-1, HEADS, -1, -1)
    slopes = queries @ attention.to_log_pos.detach().double()
    threshold = attention.count_threshold.detach().double()[:, None, None]
    gates = mask[:, None].double() * (queries @ keys.mT - threshold).sigmoid()
    parts = {
        "keys": queries @ keys.mT,
        "by age": torch.where(near, by_age.gather(-1, index), 0),
        "by count": slopes[..., None] * log_positions(gates, ages),
    }
    assert parts[large].abs().amax() > 100, "the scores aren't large, so the test can't fail"
    weights = (parts["keys"] + parts["by age"] + parts["by count"] + log_mask[:, None].double()).softmax(-1)
    expected = (weights @ values).transpose(1, 2).flatten(-2)
    assert (seen["attended"].double() - expected).abs().amax() < 0.03


def test_a_step_and_a_segment_read_spans_from_the_same_numbers() -> None:
    """Would catch: under autocast on the CPU, where norms follow their input, a step that normalises an input of
    bfloat16 as it is, and a segment that does so in float32: spans differ by up to a tenth of a step, and another state
    is kept."""
    torch.manual_seed(0)
    core = ExpireSpanCore(HEADS * PART, depth=1, heads=HEADS, slots=PAST, max_span=40)
    with torch.no_grad():
        for name, parameter in core.named_parameters():
            if "to_expiration" in name:
                parameter.normal_()
    x = torch.randn(2, HEADS * PART).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        step = core.step(x, core.cache(core.empty_memory(2)))
        segment = core(x[:, None])
    torch.testing.assert_close(step.write.span.mean(), segment.mean_span, rtol=0, atol=1e-5)
