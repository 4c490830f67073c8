"""Random shapes, sizes, cuts and episode starts against the reference."""

import dataclasses
from typing import Literal

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.expire_span.cases import (
    assert_memory_is,
    assert_same_gradients,
    close,
    gradients,
    make_core,
    make_stream,
    run_segments,
    run_steps,
)
from tests.expire_span.reference import Settings, run_reference

SPANS: st.SearchStrategy[Literal["learned", "fixed"]] = st.sampled_from(["learned", "learned", "fixed"])
CORES = st.builds(
    Settings,
    dim=st.sampled_from([4, 8]),
    depth=st.integers(1, 2),
    heads=st.sampled_from([1, 2]),
    slots=st.integers(0, 6),
    max_span=st.sampled_from([1, 4.5, 20]),
    ramp_length=st.sampled_from([1, 2.5, 6]),
    seq_len=st.integers(1, 8),
    spans=SPANS,
    ramp_power=st.sampled_from([1.0, 1.0, 3.0]),
    log_position=st.booleans(),
    count_matches=st.booleans(),
).map(lambda case: dataclasses.replace(case, log_position=case.log_position or case.count_matches))


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, list[int], Tensor]:
    """Batch size, segment lengths, and episode starts for all their steps."""
    batch = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    steps = sum(lengths)
    rows = st.lists(st.sampled_from([False, False, False, True]), min_size=steps, max_size=steps)
    return batch, lengths, torch.tensor([draw(rows) for _ in range(batch)])


@given(case=CORES, stream=streams(), seed=st.integers(0, 10_000))
@settings(max_examples=25, derandomize=True)
def test_any_stream_in_any_pieces(case: Settings, stream: tuple[int, list[int], Tensor], seed: int) -> None:
    """Catches sizes that the hand-picked cases don't meet: more slots than states, segments shorter than the memory,
    starts next to cuts, ramps longer than spans, no slots at all."""
    batch, lengths, starts = stream
    core = make_core(case, seed)
    x = make_stream(case, seed, steps=sum(lengths), batch=batch)
    expected = run_reference(core, case, x, starts)

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        memory, outputs, charged, begin = None, [], x.new_zeros(()), 0
        for length in lengths:
            part = slice(begin, begin + length)
            out = core(x[:, part], memory, starts[:, part])
            memory, begin = out.memory, begin + length
            outputs.append(out.output)
            charged = charged + out.span_loss * length
        return torch.cat(outputs, dim=1), charged / sum(lengths)

    output, span_loss = run(x)
    close(output, expected.output, "outputs")
    close(span_loss, expected.span_loss, "span loss")
    with torch.no_grad():
        stepped = run_steps(core, case, x, starts)
    close(stepped.output, expected.output, "outputs, step by step")
    assert_memory_is(core, case, stepped.memory, expected)
    assert_memory_is(core, case, run_segments(core, x, sum(lengths), starts).memory, expected)

    def slow(x: Tensor) -> tuple[Tensor, Tensor]:
        out = run_reference(core, case, x, starts)
        return out.output, out.span_loss

    assert_same_gradients(gradients(core, x, run), gradients(core, x, slow), bound=1e-7)
