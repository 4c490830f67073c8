"""Split invariance, independence of neighbours, and episode starts: values and gradients against the reference."""

import functools
import itertools

import pytest
import torch
from torch import Tensor

from tests.expire_span.cases import (
    BATCH,
    PLENTY,
    RUNNERS,
    SHORT,
    STEEP,
    STEPS,
    assert_active,
    assert_memory_is,
    assert_same_gradients,
    close,
    episodes,
    gradients,
    make_core,
    make_stream,
    run_segments,
    run_steps,
)
from tests.expire_span.reference import Reference, Settings, run_reference

SLOTS = pytest.mark.parametrize("settings", [PLENTY, SHORT, STEEP], ids=["slots plenty", "slots short", "steep"])
CUTS = pytest.mark.parametrize("cut", list(RUNNERS))

# Starts at the first step of the stream, at the first and the last step of a segment of 16, twice in a row, and
# several in one segment; the second row has none until its last step but one.
STARTS = {
    "whole stream": None,
    "episode starts": episodes(STEPS, [0, 16, 31, 32, 37, 45], [STEPS - 2]),
}
EPISODES = pytest.mark.parametrize("starts", list(STARTS))


@functools.cache
def expected_run(settings: Settings, starts: str) -> Reference:
    return run_reference(make_core(settings), settings, make_stream(settings), STARTS[starts])


@functools.cache
def expected_gradients(settings: Settings) -> dict[str, Tensor]:
    core = make_core(settings)

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        out = run_reference(core, settings, x, STARTS["episode starts"])
        return out.output, out.span_loss

    return gradients(core, make_stream(settings), run)


@SLOTS
def test_the_cases_reach_ramp_and_capacity(settings: Settings) -> None:
    """Catches a comparison that passes because nothing ever fades, expires or is crowded out."""
    assert_active(expected_run(settings, "whole stream"), settings)


@SLOTS
@EPISODES
@CUTS
@torch.no_grad()
def test_values_do_not_depend_on_the_cut(settings: Settings, starts: str, cut: str) -> None:
    """Catches ages, masks, positions or evictions that depend on where a segment was cut, one mask for all the
    queries of a segment, states of an earlier episode leaking across a start, and acting that keeps other states
    than training."""
    core, expected = make_core(settings), expected_run(settings, starts)
    run = RUNNERS[cut](core, settings, make_stream(settings), STARTS[starts])
    close(run.output, expected.output, "outputs")
    close(run.span_loss, expected.span_loss, "span loss")
    assert_memory_is(core, settings, run.memory, expected)


@SLOTS
@CUTS
def test_gradients_do_not_depend_on_the_cut(settings: Settings, cut: str) -> None:
    """Catches a hidden detach of memory, spans or positions, a gradient lost at a clamp or a `where`, and spans that
    learn only from the states inside the current segment. Of the two rows one is a single episode nearly to the end."""
    core = make_core(settings)

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        out = RUNNERS[cut](core, settings, x, STARTS["episode starts"])
        return out.output, out.span_loss

    actual = gradients(core, make_stream(settings), run)
    assert_same_gradients(actual, expected_gradients(settings), bound=1e-7)


@SLOTS
def test_the_gradients_compared_are_not_zero(settings: Settings) -> None:
    """Catches a gradient comparison of zeros with zeros: every parameter, span predictors included, must have one."""
    for name, gradient in expected_gradients(settings).items():
        assert float(gradient.abs().max()) > 1e-3, name


@SLOTS
@torch.no_grad()
def test_rows_do_not_see_each_other(settings: Settings) -> None:
    """Catches sums, cuts (`t[-n:]` of the batch), deletions or shapes that tie an environment to its neighbours."""
    core, x = make_core(settings), make_stream(settings)
    starts = STARTS["episode starts"]
    assert starts is not None
    together = run_segments(core, x, 16, starts)
    other = x.clone()
    other[1] = 3 * x[1].flip(0)
    changed_starts = starts.clone()
    changed_starts[1] = starts[1].flip(0)
    neighbours = run_segments(core, other, 16, changed_starts)
    alone = run_segments(core, x[:1], 16, starts[:1])
    for run in (neighbours, alone):
        close(run.output[0], together.output[0], "outputs of row 0")
        close(run.memory.mems[:, 0], together.memory.mems[:, 0], "memory of row 0")
        torch.testing.assert_close(run.memory.elapsed_times[:, 0], together.memory.elapsed_times[:, 0])


@SLOTS
def test_rows_have_gradients_of_their_own(settings: Settings) -> None:
    """Catches a path from one environment's inputs to another's outputs that values alone may hide (a detached or
    multiplied-by-zero term)."""
    core = make_core(settings)
    x = make_stream(settings).requires_grad_()
    run_segments(core, x, 16).output[0].square().sum().backward()
    assert x.grad is not None
    assert float(x.grad[0].abs().max()) > 0
    assert torch.equal(x.grad[1], torch.zeros_like(x.grad[1]))


@SLOTS
@CUTS
@torch.no_grad()
def test_an_episode_is_the_same_apart(settings: Settings, cut: str) -> None:
    """Catches anything that crosses an episode start: states, ages, positions, slots lost to the dead episode."""
    core, x = make_core(settings), make_stream(settings)
    bounds = [0, 13, 16, 17, 40, STEPS]
    starts = episodes(STEPS, *[bounds[:-1]] * BATCH)
    whole = RUNNERS[cut](core, settings, x, starts)
    for begin, end in itertools.pairwise(bounds):
        apart = run_segments(core, x[:, begin:end], end - begin)
        close(whole.output[:, begin:end], apart.output, f"outputs of steps {begin} to {end}")


@SLOTS
def test_no_gradient_crosses_an_episode_start(settings: Settings) -> None:
    """Catches leaks that cancel in the values: an output after a start mustn't depend on a step before it."""
    core = make_core(settings)
    x = make_stream(settings, steps=24).requires_grad_()
    run_segments(core, x, 8, episodes(24, [11], [16])).output[:, 16:].square().sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad[0, :11], torch.zeros_like(x.grad[0, :11]))
    assert torch.equal(x.grad[1, :16], torch.zeros_like(x.grad[1, :16]))
    assert float(x.grad[0, 11:16].abs().max()) > 0


@torch.no_grad()
def test_a_memory_may_be_longer_than_a_segment_and_shorter() -> None:
    """Catches storing only when a segment has a certain length (the seed's `n == seq_len`)."""
    core, x = make_core(SHORT), make_stream(SHORT)
    expected = expected_run(SHORT, "whole stream")
    memory, outputs = None, []
    for begin, end in ((0, 1), (1, 4), (4, 40), (40, 41), (41, STEPS)):
        out = core(x[:, begin:end], memory)
        memory = out.memory
        outputs.append(out.output)
    close(torch.cat(outputs, dim=1), expected.output, "outputs")
    assert memory is not None
    assert_memory_is(core, SHORT, memory, expected)


@SLOTS
@torch.no_grad()
def test_acting_goes_on_from_a_segment_and_back(settings: Settings) -> None:
    """Catches a cache that stores memories in another form or order than `forward` reads."""
    core, x = make_core(settings), make_stream(settings)
    expected = expected_run(settings, "whole stream")
    first = core(x[:, :20])
    cache, outputs = core.cache(first.memory), [first.output]
    for t in range(20, 45):
        out = core.step(x[:, t], cache)
        cache = cache.written(out.write)
        outputs.append(out.output[:, None])
    last = core(x[:, 45:], cache.memory)
    close(torch.cat([*outputs, last.output], dim=1), expected.output, "outputs")
    assert_memory_is(core, settings, last.memory, expected)


@torch.no_grad()
def test_float32_agrees_too() -> None:
    """Catches a death time kept in float32 on an absolute clock, or a mask too coarse to order the deaths."""
    core, x = make_core(SHORT, dtype=torch.float32), make_stream(SHORT, dtype=torch.float32)
    expected = run_reference(core, SHORT, x)
    for run in (run_segments(core, x, STEPS), run_segments(core, x, 16), run_steps(core, SHORT, x)):
        close(run.output, expected.output, "outputs")
        close(run.span_loss, expected.span_loss, "span loss")
        assert_memory_is(core, SHORT, run.memory, expected)
