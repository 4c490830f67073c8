"""What the slots keep: sliding windows with equal spans, the latest deaths when short, and numbers worked by hand."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from expire_span import ExpireSpanCore
from expire_span.visibility import outlived_by_pairs, outlived_by_sorting
from tests.expire_span.cases import (
    RUNNERS,
    assert_memory_is,
    assert_same_gradients,
    close,
    episodes,
    gradients,
    make_core,
    make_stream,
    run_segments,
    scripted,
)
from tests.expire_span.reference import Settings, run_reference, sinusoid

CUTS = pytest.mark.parametrize("cut", list(RUNNERS))
STEPS = 32
HUGE = Settings(slots=7, max_span=1e5, ramp_length=100)


def windowed(core: Any, settings: Settings, x: Tensor, window: int, starts: Tensor) -> Tensor:
    """This transformer without spans: each step attends to itself and the `window` steps before, in its episode.

    Written with whole matrices of ordinary masked softmax attention, apart from the core and from the reference.
    """
    batch, steps, dim = x.shape
    dim_head = dim // settings.heads
    clock = torch.arange(steps)
    age = clock[:, None] - clock
    episode = starts.cumsum(dim=1)
    seen = (age >= 0) & (age <= window) & (episode[:, :, None] == episode[:, None])
    table = torch.stack([sinusoid(a, dim, x) for a in range(steps)])
    near = (age >= 0) & (age < settings.seq_len)

    def by_head(t: Tensor) -> Tensor:
        return t.view(batch, steps, settings.heads, dim_head).transpose(1, 2)

    for block in core.blocks:
        normed = block.norm(x)
        q = by_head(block.attention.to_q(normed))
        k, v = (by_head(t) for t in block.attention.to_kv(normed).chunk(2, dim=-1))
        positions = block.attention.to_pos(table)[age.clamp(min=0)]
        logits = q @ k.transpose(-1, -2) + torch.einsum("bhid,ijd->bhij", q, positions) * near
        logits = (logits / dim_head**0.5).masked_fill(~seen[:, None], -torch.inf)
        mixed = (logits.softmax(dim=-1) @ v).transpose(1, 2).reshape(batch, steps, dim)
        x = x + block.attention.to_out(mixed)
        x = x + block.feedforward(block.norm_feedforward(x))
    out: Tensor = core.norm(x)
    return out


def huge_equal(spans: Literal["learned", "fixed"]) -> tuple[ExpireSpanCore, Settings]:
    """Every span is far longer than the stream and the same, whether learned (saturated) or fixed."""
    settings = Settings(slots=HUGE.slots, max_span=HUGE.max_span, ramp_length=HUGE.ramp_length, spans=spans)
    core = make_core(settings)
    if spans == "learned":
        with torch.no_grad():
            for block in core.blocks:
                predictor: Any = block.expire_span
                predictor.to_expiration.weight.zero_()
                predictor.to_expiration.bias.fill_(3.0)
    return core, settings


@pytest.mark.parametrize("spans", ["learned", "fixed"])
@CUTS
def test_huge_equal_spans_are_a_transformer_xl(spans: Literal["learned", "fixed"], cut: str) -> None:
    """Catches a mask or position that isn't neutral at m = 1, slots that aren't first-in-first-out when spans are
    equal, and float rounding of the death times that shuffles their order."""
    core, settings = huge_equal(spans)
    x, starts = make_stream(settings, steps=STEPS), episodes(STEPS, [9, 20], [16])

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        return RUNNERS[cut](core, settings, x, starts).output, x.new_zeros(())

    def run_windowed(x: Tensor) -> tuple[Tensor, Tensor]:
        return windowed(core, settings, x, settings.slots, starts), x.new_zeros(())

    close(run(x)[0], run_windowed(x)[0], "outputs")
    assert_same_gradients(gradients(core, x, run), gradients(core, x, run_windowed), bound=1e-7)


@CUTS
def test_a_constant_span_with_a_ramp_of_one_is_a_hard_window(cut: str) -> None:
    """Catches ages one short or one long, and a step that expires for itself: span W sees W past steps and itself."""
    settings = Settings(slots=16, max_span=6, ramp_length=1, spans="fixed")
    core, x = make_core(settings), make_stream(settings, steps=STEPS)
    starts = episodes(STEPS, [5, 19], [])

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        return RUNNERS[cut](core, settings, x, starts).output, x.new_zeros(())

    def run_windowed(x: Tensor) -> tuple[Tensor, Tensor]:
        return windowed(core, settings, x, 6, starts), x.new_zeros(())

    close(run(x)[0], run_windowed(x)[0], "outputs")
    assert_same_gradients(gradients(core, x, run), gradients(core, x, run_windowed), bound=1e-7)


def test_the_window_check_tells_windows_apart() -> None:
    """Catches a window check that would pass whatever the window."""
    core, settings = huge_equal("fixed")
    x, starts = make_stream(settings, steps=STEPS), episodes(STEPS, [], [])
    off = windowed(core, settings, x, 6, starts) - windowed(core, settings, x, 7, starts)
    assert float(off.detach().abs().max()) > 1e-3


def kept_times(core: ExpireSpanCore, x: Tensor, settings: Settings, cut: str, row: int = 0) -> set[int]:
    """The times of the live memories after the whole of `x`."""
    memory = RUNNERS[cut](core, settings, x, None).memory
    assert_memory_is(core, settings, memory, run_reference(core, settings, x))
    spans = core.cache(memory).spans[0, row]
    ages = memory.elapsed_times[0, row]
    alive = ages < spans + settings.ramp_length
    return {x.shape[1] - 1 - int(age) for age in ages[alive]}


CROWDED = Settings(depth=1, dim=16, slots=3, max_span=20, ramp_length=2)


@CUTS
def test_the_earliest_deaths_go_and_only_those(cut: str) -> None:
    """Catches eviction by age, by span, by remaining span at a segment's end, or of an unrelated slot."""
    # deaths:          18, 4, 11, 18.5, 6, 15, 8
    core, x = scripted(CROWDED, [[18, 3, 9, 15.5, 2, 10, 2]])
    expected = [{0}, {0, 1}, {0, 1, 2}, {0, 2, 3}, {0, 2, 3}, {0, 3, 5}, {0, 3, 5}]
    for steps, times in enumerate(expected, start=1):
        assert kept_times(core, x[:, :steps], CROWDED, cut) == times, f"after {steps} steps"


def test_what_was_pushed_out_stays_out() -> None:
    """Catches a state that comes back into view inside a segment when those that displaced it have died."""
    settings = Settings(depth=1, dim=16, slots=2, max_span=20, ramp_length=8)
    # Deaths 3.3, 5.4, 6.6, then nothing that lives: state 0 is on its ramp until step 11, and out since step 3.
    core, x = scripted(settings, [[3.3, 4.4, 4.6, 0, 0, 0, 0, 0, 0]])
    expected = run_reference(core, settings, x)
    assert all(0 not in expected.masks[0, 0, t] for t in range(3, 9))
    for cut in RUNNERS:
        close(RUNNERS[cut](core, settings, x, None).output, expected.output, cut)


@CUTS
def test_a_new_state_with_the_earliest_death_is_not_stored(cut: str) -> None:
    """Catches acting that always writes the newest state, over one that lives longer."""
    settings = Settings(depth=1, dim=16, slots=2, max_span=20, ramp_length=4)
    core, x = scripted(settings, [[18, 18, 0, 1, 12, 17]])
    assert kept_times(core, x[:, :3], settings, cut) == {0, 1}
    assert kept_times(core, x[:, :4], settings, cut) == {0, 1}
    assert kept_times(core, x[:, :5], settings, cut) == {0, 1}
    assert kept_times(core, x, settings, cut) == {1, 5}


@CUTS
def test_of_equal_deaths_the_newest_stays(cut: str) -> None:
    """Catches ties broken by slot order or by age: states 0 and 4 both die at step 4, and one slot is left."""
    settings = Settings(depth=1, dim=16, slots=1, max_span=4, ramp_length=4)
    core, x = scripted(settings, [[4, 0, 0, 0, 0]])
    assert kept_times(core, x[:, :4], settings, cut) == {0}
    assert kept_times(core, x, settings, cut) == {4}


@CUTS
def test_of_three_equal_deaths_the_two_newest_stay(cut: str) -> None:
    """Catches a tie rule that holds between a slot and the new state only, not among states of one segment."""
    settings = Settings(depth=1, dim=16, slots=2, max_span=3, ramp_length=4)
    # Deaths 3, 1, 2, 3, 7, 5: when state 4 comes, 0 goes and 3 stays.
    core, x = scripted(settings, [[3, 0, 0, 0, 3, 0]])
    assert kept_times(core, x[:, :3], settings, cut) == {0, 2}
    assert kept_times(core, x[:, :4], settings, cut) == {0, 3}
    assert kept_times(core, x[:, :5], settings, cut) == {3, 4}
    assert kept_times(core, x, settings, cut) == {4, 5}


@given(
    deaths_of_ages=st.dictionaries(st.integers(0, 9), st.integers(-1, 4), max_size=6),
    empty=st.integers(0, 2),
    own=st.lists(st.tuples(st.integers(-1, 4), st.booleans()), min_size=1, max_size=4),
)
def test_who_outlives_whom_is_the_same_however_it_is_counted(
    deaths_of_ages: dict[int, int], empty: int, own: list[tuple[int, bool]]
) -> None:
    """Would catch, uncompiled alone, ties that go to the older state, states of a later episode that compete with
    remembered ones, or empty slots that do."""
    remembered = len(deaths_of_ages) + empty
    times = torch.tensor(
        [[-1.0 - age for age in deaths_of_ages] + [-torch.inf] * empty + [*map(float, range(len(own)))]]
    )
    deaths = [*map(float, deaths_of_ages.values())] + [-torch.inf] * empty + [float(death) for death, _ in own]
    episodes = torch.tensor([[0.0] * remembered + np.cumsum([float(begins) for _, begins in own]).tolist()])
    arguments = torch.tensor([deaths]), times, episodes, remembered
    there = times.isfinite()
    assert outlived_by_sorting(*arguments)[there].tolist() == outlived_by_pairs(*arguments)[there].tolist()


def test_no_sort_is_compiled() -> None:
    """Would catch a sort that comes to a compiler: Inductor writes it out as a network of exchanges, minutes long."""
    core = ExpireSpanCore(8, 1, heads=1, slots=3)
    program = torch.export.export(core, (torch.randn(2, 4, 8),), strict=False)
    assert not [node.target for node in program.graph.nodes if "sort" in str(node.target)]


def test_times_may_be_of_another_type_than_the_core() -> None:
    """Would catch numbers of two types in one product: ages may be counted in float64 for streams without end."""
    core, x = ExpireSpanCore(8, 1, heads=1, slots=3), torch.randn(2, 4, 8)
    memory = core(x).memory
    of_float64 = memory._replace(elapsed_times=memory.elapsed_times.double())
    close(core(x, of_float64).output, core(x, memory).output, "output")


def test_equal_spans_in_float32_stay_in_order() -> None:
    """Catches death times whose float32 rounding makes ties of neighbours, as long spans on a long stream would."""
    settings = Settings(depth=1, slots=4, max_span=1e5, ramp_length=16, spans="fixed")
    core = make_core(settings, dtype=torch.float32)
    x = make_stream(settings, dtype=torch.float32, steps=50)
    for length in (50, 10, 1):
        memory = run_segments(core, x, length).memory
        assert sorted(memory.elapsed_times[0, 0].tolist()) == [0, 1, 2, 3]


HAND = Settings(depth=1, slots=8, max_span=10, ramp_length=4)


def untouched(settings: Settings, initial_span: float, **options: Any) -> ExpireSpanCore:
    return ExpireSpanCore(
        settings.dim,
        settings.depth,
        settings.heads,
        settings.slots,
        settings.max_span,
        settings.ramp_length,
        settings.seq_len,
        initial_span=initial_span,
        **options,
    )


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.9])
@torch.no_grad()
def test_every_span_starts_at_its_share_of_max_span(share: float) -> None:
    """Catches the seed's bias of -max_mem_len, at which the sigmoid and its gradient are 0 for ever."""
    core = untouched(Settings(max_span=200), share)
    memory = core(make_stream(HAND, dtype=torch.float32, steps=6)).memory
    kept = core.cache(memory).spans[memory.elapsed_times.isfinite()]
    assert kept.numel() > 0
    torch.testing.assert_close(kept, torch.full_like(kept, share * 200), rtol=1e-5, atol=0)


@torch.no_grad()
def test_masks_worked_by_hand() -> None:
    """Catches a ramp that begins a step early or late, or is inclined by other than 1/R: with a span of 3.2 and a ramp
    of 4, ages 1 to 3 are whole, 4 to 7 weigh 0.8, 0.55, 0.3 and 0.05, and 8 is gone; empty slots weigh nothing."""
    core, x = untouched(HAND, 0.32), make_stream(HAND, dtype=torch.float32, steps=9)
    cache = core.cache(core.empty_memory(2))
    by_age = [1, 1, 1, 0.8, 0.55, 0.3, 0.05, 0]
    for t in range(9):
        out = core.step(x[:, t], cache)
        wanted = torch.tensor(by_age[:t] + [0.0] * (8 - t))
        for row in range(2):
            masks, _ = out.masks[0, row].sort(descending=True)
            torch.testing.assert_close(masks, wanted, atol=1e-5, rtol=0)
        cache = cache.written(out.write)


@torch.no_grad()
def test_span_loss_worked_by_hand() -> None:
    """Catches charging r for e, states off the ramp, a sum over the batch or layers, or a mean over the states: of ten
    steps, 4 to 9 have 1, 2, 3, 4, 4 and 4 states on the ramp, each charged 3.2 / 4; the mean over steps is 1.44."""
    x = make_stream(HAND, dtype=torch.float32, steps=10)
    for depth in (1, 3):
        core = untouched(Settings(depth=depth, slots=8, max_span=10, ramp_length=4), 0.32)
        for batch in (1, 2):
            assert float(core(x[:batch]).span_loss) == pytest.approx(1.44, rel=1e-5)


@torch.no_grad()
def test_crowded_out_states_are_not_charged() -> None:
    """Catches a loss over the ramp that forgets capacity: with four slots only age 4 is visible on the ramp."""
    core = untouched(Settings(depth=1, slots=4, max_span=10, ramp_length=4), 0.32)
    x = make_stream(HAND, dtype=torch.float32, steps=10)
    assert float(core(x).span_loss) == pytest.approx(0.8 * 6 / 10, rel=1e-5)
