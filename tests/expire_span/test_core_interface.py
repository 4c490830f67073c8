"""What a caller relies on: shapes and types, empty memories, caches, steps, random shortening, autocast."""

from typing import Any

import pytest
import torch
from torch import Tensor

from expire_span import Cache, ExpireSpanCore, Memory
from tests.expire_span.cases import (
    SHORT,
    assert_memory_is,
    close,
    episodes,
    make_core,
    make_stream,
    run_segments,
    run_steps,
)
from tests.expire_span.reference import Settings, run_reference

NONE = Settings(slots=0)


@torch.no_grad()
def test_an_empty_memory_is_no_memory() -> None:
    """Catches empty slots that are seen, and other numbers for None than for a memory without states."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=20)
    without, empty = core(x), core(x, core.empty_memory(2))
    assert torch.equal(without.output, empty.output)
    assert torch.equal(without.span_loss, empty.span_loss)
    assert torch.equal(without.memory.mems, empty.memory.mems)
    assert torch.equal(without.memory.elapsed_times, empty.memory.elapsed_times)
    assert core.empty_memory(2).elapsed_times.isinf().all()
    assert core.empty_memory(2).mems.isfinite().all()


@torch.no_grad()
def test_what_lies_in_an_empty_slot_does_not_matter() -> None:
    """Catches emptiness told by a state of zeros rather than by an infinite age."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=12)
    empty = core.empty_memory(2)
    littered = Memory(torch.randn_like(empty.mems) * 50, empty.elapsed_times)
    assert torch.equal(core(x, littered).output, core(x).output)
    first = core.step(x[:, 0], core.cache(littered)).output
    assert torch.equal(first, core.step(x[:, 0], core.cache(empty)).output)
    torch.testing.assert_close(first, core(x[:, :1], littered).output[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [1, 3, 30])
@torch.no_grad()
def test_a_memory_has_one_shape(dtype: torch.dtype, steps: int) -> None:
    """Catches shapes that depend on data or on how much was seen, and ages kept in integers or half precision."""
    core = make_core(SHORT, dtype=dtype)
    x = make_stream(SHORT, dtype=dtype, steps=steps)
    out = core(x)
    cache = core.cache(out.memory)
    written = cache.written(core.step(x[:, 0], cache).write)
    for memory in (core.empty_memory(2), out.memory, written.memory):
        assert memory.mems.shape == (SHORT.depth, 2, SHORT.slots, SHORT.dim)
        assert memory.elapsed_times.shape == (SHORT.depth, 2, SHORT.slots)
        assert memory.mems.dtype == dtype
        assert memory.elapsed_times.dtype == torch.float32
    assert out.output.shape == x.shape
    assert out.span_loss.shape == ()


@torch.no_grad()
def test_without_slots_each_step_sees_itself_only() -> None:
    """Catches crashes and leaks at `slots=0`, the control without memory."""
    core, x = make_core(NONE), make_stream(NONE, steps=9)
    expected = run_reference(core, NONE, x)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    for run in (run_segments(core, x, 9), run_segments(core, x, 3), run_steps(core, NONE, x)):
        close(run.output, expected.output, "outputs")
        assert float(run.span_loss) == 0
        assert run.memory.mems.shape == (NONE.depth, 2, 0, NONE.dim)
    close(core(x[:, shuffled]).output, expected.output[:, shuffled], "outputs in another order")


def snapshot(cache: Cache) -> list[Tensor]:
    return [t.clone() for t in (*cache.memory, cache.keys, cache.values, cache.spans)]


@pytest.mark.parametrize("settings", [SHORT, NONE], ids=["slots short", "no slots"])
@torch.no_grad()
def test_a_step_leaves_its_cache_untouched(settings: Settings) -> None:
    """Catches a state that answers differently when asked twice, or that a peek for a bootstrap value has changed."""
    core, x = make_core(settings), make_stream(settings, steps=12)
    starts = torch.tensor([True, False])
    cache = core.cache(core(x[:, :11]).memory)
    before = snapshot(cache)
    first, again = core.step(x[:, 11], cache, starts), core.step(x[:, 11], cache, starts)
    after, after_again = cache.written(first.write), cache.written(again.write)
    assert torch.equal(first.output, again.output)
    assert all(map(torch.equal, snapshot(after), snapshot(after_again)))
    assert all(map(torch.equal, snapshot(cache), before))


@torch.no_grad()
def test_writing_in_place_writes_the_same() -> None:
    """Catches a rollout that goes on from another cache than `predict` does, and a rebound tensor: whoever holds the
    cache's tensors (a CUDA graph does) must see the write."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=30)
    kept = held = core.cache(core.empty_memory(2))
    tensors = (*held.memory, held.keys, held.values, held.spans)
    kept = held.written(core.step(x[:, 0], held).write)
    held.write_(core.step(x[:, 0], held).write)
    for t in range(1, 30):
        starts = torch.tensor([t == 17, False])
        kept = kept.written(core.step(x[:, t], kept, starts).write)
        held.write_(core.step(x[:, t], held, starts).write)
    assert all(map(torch.equal, snapshot(kept), snapshot(held)))
    assert all(map(torch.equal, tensors, snapshot(kept)))


@torch.no_grad()
def test_a_cache_made_after_a_change_of_weights_is_new() -> None:
    """Catches keys, values or spans of old weights: after an update, acting must agree with training."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=21)
    memory = core(x[:, :20]).memory
    stale = core.cache(memory)
    for parameter in core.parameters():
        parameter.mul_(1.3)
    expected = core(x[:, 20:], memory).output[:, 0]
    close(core.step(x[:, 20], core.cache(memory)).output, expected, "outputs after the change")
    assert float((core.step(x[:, 20], stale).output - expected).abs().max()) > 1e-3


@torch.no_grad()
def test_a_step_tells_what_it_attended_to() -> None:
    """Catches weights in another order than the slots, the step itself not last, and weight on what has expired."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=25)
    expected = run_reference(core, SHORT, x)
    cache = core.cache(core(x[:, :24]).memory)
    out = core.step(x[:, 24], cache)
    assert out.attention.shape == (SHORT.depth, 2, SHORT.heads, SHORT.slots + 1)
    assert out.masks.shape == (SHORT.depth, 2, SHORT.slots)
    close(out.attention.sum(-1), torch.ones(SHORT.depth, 2, SHORT.heads), "sum of the weights")
    assert (out.attention[..., :-1] > 0).eq((out.masks > 0)[:, :, None]).all()
    assert (out.attention[..., -1] > 0).all()
    for layer in range(SHORT.depth):
        for row in range(2):
            times = 23 - cache.memory.elapsed_times[layer, row]
            pairs = zip(times.tolist(), out.masks[layer, row].tolist(), strict=True)
            found = {int(time): mask for time, mask in pairs if mask > 0}
            assert found == pytest.approx(expected.masks[layer, row, 24])


@pytest.mark.parametrize(("slots", "evicts"), [(4, True), (7, False)])
@torch.no_grad()
def test_a_step_tells_when_a_live_state_is_lost(slots: int, evicts: bool) -> None:
    """Catches dead states counted as losses, and losses that go uncounted: with spans of 5 and a ramp of 1, four slots
    lose a live state at every step once they are full, and seven never do."""
    settings = Settings(slots=slots, max_span=5, ramp_length=1, spans="fixed")
    core, x = make_core(settings), make_stream(settings, steps=15)
    cache = core.cache(core.empty_memory(2))
    for t in range(15):
        out = core.step(x[:, t], cache)
        assert (out.evicted_live == (evicts and t >= slots)).all(), f"step {t}"
        cache = cache.written(out.write)


SHORTENED = Settings(slots=16, max_span=12, ramp_length=3, seq_len=4)


def shortening(seed: int = 5, **options: Any) -> ExpireSpanCore:
    return make_core(SHORTENED, seed, spread=0.3, random_shortening=True, **options)


@torch.no_grad()
def test_shortening_is_off_outside_training() -> None:
    """Catches noise when acting or evaluating, and in training too where it wasn't asked for."""
    x = make_stream(SHORTENED, steps=24)
    plain = make_core(SHORTENED, spread=0.3)
    assert torch.equal(shortening().eval()(x).output, plain.eval()(x).output)
    assert torch.equal(plain.train()(x).output, plain.eval()(x).output)
    assert float((shortening().train()(x).output - plain.eval()(x).output).abs().max()) > 1e-3


@torch.no_grad()
def test_shortening_hides_what_is_older_than_one_age_a_row() -> None:
    """Catches shortening per state, per layer or per query, at random but not one limit for each row and call, and a
    limit that is the same for all rows. Ages are whole, so every limit acts like one of 0 .. max_span."""
    core, x = shortening().train(), make_stream(SHORTENED, steps=14, batch=6)
    torch.manual_seed(4)
    out = core(x)
    limits = range(int(SHORTENED.max_span) + 1)
    by_limit = [run_reference(core, SHORTENED, x, oldest=[limit] * 6) for limit in limits]
    acting = []
    for row in range(6):
        errors = [float((run.output[row] - out.output[row]).abs().max()) for run in by_limit]
        assert min(errors) < 1e-6, f"row {row} isn't what one limit of age gives"
        acting.append(errors.index(min(errors)))
    assert len(set(acting)) > 2, acting
    mixed = run_reference(core, SHORTENED, x, oldest=acting)
    close(out.span_loss, mixed.span_loss, "span loss")
    assert_memory_is(core, SHORTENED, out.memory, mixed)


@torch.no_grad()
def test_shortening_deletes_nothing() -> None:
    """Catches the seed's flaw: the shortened mask decided what memory was deleted, for good."""
    settings = Settings(depth=1, slots=16, max_span=12, ramp_length=3)
    core, x = make_core(settings, spread=0.3, random_shortening=True), make_stream(settings, steps=30)
    expected = run_reference(core, settings, x)
    for seed in range(5):
        torch.manual_seed(seed)
        memory = core.train()(x[:, :20]).memory
        late = core.eval()(x[:, 20:], memory)
        close(late.output, expected.output[:, 20:], "outputs after a shortened segment")


def test_autocast_keeps_spans_and_masks_in_float32() -> None:
    """Catches bfloat16 ages and spans, which round 257 to 256, and masks or losses computed from them."""
    core = make_core(SHORT, dtype=torch.float32)
    x = make_stream(SHORT, dtype=torch.float32, steps=40)
    exact = run_segments(core, x, 20)
    spans = core.cache(exact.memory).spans
    with torch.autocast("cpu", torch.bfloat16):
        run = run_segments(core, x, 20)
        cache = core.cache(exact.memory)
        out = core.step(x[:, 0], cache, torch.tensor([True, False]))
        after = cache.written(out.write)
    torch.testing.assert_close(cache.spans, spans, rtol=1e-6, atol=1e-6)
    for tensor in (cache.spans, out.masks, run.memory.elapsed_times, after.memory.elapsed_times, run.span_loss):
        assert tensor.dtype == torch.float32
    assert run.memory.mems.dtype == after.memory.mems.dtype == torch.float32
    assert float((run.output.float() - exact.output).detach().abs().mean()) < 0.05
    run.output.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in core.parameters() if p.grad is not None)


@torch.no_grad()
def test_autocast_keeps_every_slot_apart() -> None:
    """Catches counts of competing states taken in bfloat16, which can't tell 257 from 256: states would share slots,
    and others stay empty."""
    settings = Settings(depth=1, slots=300, max_span=1e5, spans="fixed")
    core = make_core(settings, dtype=torch.float32)
    x = make_stream(settings, dtype=torch.float32, steps=400, batch=1)
    with torch.autocast("cpu", torch.bfloat16):
        memory = core(x).memory
    assert sorted(memory.elapsed_times[0, 0].tolist()) == list(range(300))


@torch.no_grad()
def test_a_start_resets_that_row_only() -> None:
    """Catches a step whose start clears the neighbours' slots, or its own row's in one layer only."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=21)
    memory = core(x[:, :20]).memory
    starts = episodes(1, [0], [])
    for run in (
        core(x[:, 20:], memory, starts).output[:, 0],
        core.step(x[:, 20], core.cache(memory), starts[:, 0]).output,
    ):
        close(run[0], core(x[:1, 20:]).output[0, 0], "the row that starts")
        close(run[1], core(x[:, 20:], memory).output[1, 0], "its neighbour")
