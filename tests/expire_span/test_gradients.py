"""Gradients where they are easily lost or poisoned: at the start, on the ramp, in empty slots, in dead memories."""

from typing import Any

import pytest
import torch

from expire_span import ExpireSpanCore, Memory
from expire_span.attention import CausalAttention
from expire_span.span import log_mask, read_shortfall
from tests.expire_span.cases import SHORT, make_core, make_stream, run_segments, run_steps
from tests.expire_span.reference import Settings, run_reference

# Every span starts at 6 of 24, so ages 7 to 11 are on the ramp.
START = Settings(slots=16)


def at_initialisation(**options: Any) -> ExpireSpanCore:
    torch.manual_seed(0)
    return ExpireSpanCore(
        START.dim,
        START.depth,
        START.heads,
        START.slots,
        START.max_span,
        START.ramp_length,
        START.seq_len,
        initial_span=0.25,
        **options,
    )


def predictor_gradients(core: ExpireSpanCore) -> dict[str, float]:
    return {
        name: float(parameter.grad.abs().max())
        for name, parameter in core.named_parameters()
        if "to_expiration" in name and parameter.grad is not None
    }


@pytest.mark.parametrize("shortened", [False, True], ids=["whole spans", "random shortening"])
@pytest.mark.parametrize("target", ["outputs", "span loss"])
def test_the_span_predictor_can_learn_from_the_start(shortened: bool, target: str) -> None:
    """Catches the seed's start, where the sigmoid's gradient is exactly 0 and no span ever moves, a mask that reaches
    the logits without its gradient, and a loss that is charged on a detached span."""
    core = at_initialisation(random_shortening=shortened).train()
    x = make_stream(START, dtype=torch.float32, steps=24, batch=8)
    out = core(x)
    (out.output.square().mean() if target == "span loss" else out.output[..., 0].sum()).backward(retain_graph=True)
    if target == "span loss":
        core.zero_grad()
        out.span_loss.backward()
    found = predictor_gradients(core)
    assert len(found) == 2 * START.depth
    for name, size in found.items():
        assert size > 1e-6, f"{name} has no gradient from the {target}"


@pytest.mark.parametrize(("share", "learns"), [(None, True), (0.1, False)], ids=["by default", "longer than the slots"])
def test_spans_that_start_longer_than_the_slots_never_learn(share: float | None, learns: bool) -> None:
    """Catches a start by `max_span` alone: with 16 slots and spans of 100 every state is pushed out before it fades,
    and a Transformer-XL is all that is ever learned. By default they fill the slots."""
    torch.manual_seed(0)
    core = ExpireSpanCore(16, 2, heads=2, slots=16, max_span=1000, ramp_length=4, seq_len=8, initial_span=share)
    x = torch.randn(4, 40, 16)
    core(x).output[..., 0].sum().backward()
    assert all((size > 1e-6) == learns for size in predictor_gradients(core).values())
    if share is None:
        assert core.initial_span * core.max_span == 16 - 4
        assert ExpireSpanCore(16, 2, heads=2, slots=64, max_span=100).initial_span == 0.4
        assert ExpireSpanCore(16, 2, heads=2, slots=8, max_span=100).initial_span == 0.04


def test_no_state_on_the_ramp_no_gradient_of_the_span() -> None:
    """Catches a test of the start that would pass through some other path: with ages off the ramp there is none."""
    core = at_initialisation()
    out = core(make_stream(START, dtype=torch.float32, steps=6))
    (out.output[..., 0].sum() + out.span_loss).backward()
    assert all(size == 0 for size in predictor_gradients(core).values())


def test_gradients_are_those_of_the_values() -> None:
    """Catches a surrogate or a cut in the backward pass that the reference, being autograd too, might share: finite
    differences of the core's own values, with respect to the inputs, the memory and the span predictor."""
    settings = Settings(dim=4, depth=1, slots=3, max_span=8, ramp_length=4, seq_len=3)
    core = make_core(settings)
    memory = core(make_stream(settings, seed=5, steps=4, batch=1)).memory
    block: Any = core.blocks[0]
    predictor = block.expire_span.to_expiration

    def run(x: torch.Tensor, mems: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Any:
        named = {
            "blocks.0.expire_span.to_expiration.weight": weight,
            "blocks.0.expire_span.to_expiration.bias": bias,
        }
        out = torch.func.functional_call(core, named, (x, Memory(mems, memory.elapsed_times)))
        return out.output, out.span_loss

    inputs = (make_stream(settings, steps=5, batch=1), memory.mems, predictor.weight, predictor.bias)
    leaves = tuple(t.detach().clone().requires_grad_() for t in inputs)
    assert torch.autograd.gradcheck(run, leaves)


def half_empty_memory(core: ExpireSpanCore) -> Memory:
    """Three states, then empty slots; row 1 is empty altogether."""
    filled = core(make_stream(SHORT, seed=9, dtype=core.norm.weight.dtype, steps=3)).memory
    elapsed_times = filled.elapsed_times.clone()
    elapsed_times[:, 1] = torch.inf
    return Memory(filled.mems.detach().clone(), elapsed_times)


def dead_memory(core: ExpireSpanCore) -> Memory:
    """Every slot holds a state whose ramp is long over."""
    empty = core.empty_memory(2)
    return Memory(torch.randn_like(empty.mems), torch.full_like(empty.elapsed_times, 1e7))


MEMORIES = {
    "no memory": lambda core: core.empty_memory(2),
    "half empty": half_empty_memory,
    "all dead": dead_memory,
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("memory", list(MEMORIES))
@pytest.mark.parametrize("bias", [-1000.0, 0.0, 1000.0], ids=["spans 0", "spans between", "spans full"])
@pytest.mark.parametrize("backend", ["plain", "sdpa"])
def test_no_gradient_is_nan(memory: str, bias: float, backend: str) -> None:
    """Catches ln 0, sin of inf, 0 * inf and a softmax over nothing, whose NaN a `where` hides in the values only.
    Anomaly detection looks into every backward function, not only at the ends."""
    core = make_core(SHORT, dtype=torch.float32, backend=backend)
    with torch.no_grad():
        for block in core.blocks:
            predictor: Any = block.expire_span
            predictor.to_expiration.bias.add_(bias)
    before = MEMORIES[memory](core)
    mems = before.mems.detach().clone().requires_grad_()
    x = make_stream(SHORT, dtype=torch.float32, steps=20).requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        run = run_segments(core, x, 10, memory=Memory(mems, before.elapsed_times))
        (run.output.square().sum() + run.span_loss + run.memory.mems.square().sum()).backward()
    for name, tensor in [("x", x), ("memory", mems), *core.named_parameters()]:
        assert tensor.grad is not None, name
        assert torch.isfinite(tensor.grad).all(), name
    assert torch.isfinite(run.output).all()
    assert torch.isfinite(run.memory.mems).all()


def test_an_empty_slot_has_no_gradient() -> None:
    """Catches an empty slot that is read as a state of zeros: what lies in it mustn't matter."""
    core = make_core(SHORT)
    before = half_empty_memory(core)
    mems = before.mems.clone().requires_grad_()
    out = core(make_stream(SHORT, steps=6), Memory(mems, before.elapsed_times))
    (out.output.square().sum() + out.span_loss).backward()
    assert mems.grad is not None
    empty = before.elapsed_times.isinf()
    assert torch.equal(mems.grad[empty], torch.zeros_like(mems.grad[empty]))
    assert float(mems.grad[~empty].abs().max()) > 0


@pytest.mark.parametrize("how", ["segments", "steps"])
def test_the_core_never_detaches(how: str) -> None:
    """Catches truncation inside the core, which only its caller may decide: the last output must reach the first
    input through the memory, and the memory that comes out must be part of the graph."""
    core = make_core(SHORT)
    x = make_stream(SHORT, steps=6).requires_grad_()
    run = run_segments(core, x, 2) if how == "segments" else run_steps(core, SHORT, x)
    assert run.memory.mems.requires_grad
    assert not run.memory.elapsed_times.requires_grad
    (gradient,) = torch.autograd.grad(run.output[:, -1].square().sum(), x)
    assert float(gradient[:, 0].abs().max()) > 0


@torch.no_grad()
def test_a_query_starts_by_seeing_few_states_and_reads_them_whole() -> None:
    """Catches PyTorch's own start, in which a cue among twenty states is a twentieth of what is read, and a ninth of
    that after values and output: agents stayed at chance for millions of steps."""
    torch.manual_seed(0)
    attention = CausalAttention(dim=64, heads=4, seq_len=32)
    states = torch.nn.functional.layer_norm(torch.randn(8, 40, 64), (64,))
    keys, values = attention.project(states)
    queries = attention.to_q(states).unflatten(-1, (4, 16)).transpose(1, 2)
    assert float((queries @ keys.mT / 4).std()) == pytest.approx(3.0, rel=0.1)
    assert float(attention.to_out(values.transpose(1, 2).flatten(2)).std()) == pytest.approx(1.0, rel=0.1)


def test_states_that_outlive_their_episode_are_charged_for_by_their_mean_span() -> None:
    """Catches a price of memory that isn't paid where episodes end before spans do: such states are never on the ramp,
    the span loss is 0 there, and an agent that began by remembering everything would go on to."""
    core = at_initialisation()
    x = make_stream(START, dtype=torch.float32, steps=12, batch=3)
    out = core(x, episode_starts=torch.arange(12).expand(3, 12) % 6 == 0)
    assert out.span_loss == 0
    assert out.mean_span.item() == pytest.approx(6.0)
    out.mean_span.backward()
    assert all(size > 1e-3 for size in predictor_gradients(core).values())


def test_the_mean_span_is_that_of_the_segments_own_states() -> None:
    """Catches a mean over remembered states, which would be charged again in every segment, or over one layer."""
    core, x = make_core(SHORT), make_stream(SHORT)
    first = core(x[:, :40])
    second = core(x[:, 40:], first.memory)
    expected = run_reference(core, SHORT, x).spans
    assert first.mean_span.item() == pytest.approx(expected[..., :40].mean().item())
    assert second.mean_span.item() == pytest.approx(expected[..., 40:].mean().item())


def test_a_power_of_the_mask_spreads_the_gradient_over_the_ramp() -> None:
    """Catches a power that doesn't reach attention: half way down the ramp, a state whose score is 7 above the others'
    still has a weight of 1 with a power of 1, and its gradient is next to nothing."""

    def weight_and_gradient(power: float) -> tuple[float, float]:
        mask = torch.tensor([0.5, 1.0], requires_grad=True)
        scores = torch.tensor([7.0, 0.0]) + log_mask(mask, power)
        weight = scores.softmax(-1)[0]
        weight.backward()
        assert mask.grad is not None
        return weight.item(), float(mask.grad[0])

    assert weight_and_gradient(1.0) == pytest.approx((0.9982, 0.0036), abs=1e-4)
    weight, gradient = weight_and_gradient(8.0)
    assert weight == pytest.approx(0.811, abs=1e-3)
    assert gradient == pytest.approx(8 / 0.5 * weight * (1 - weight), rel=1e-5)


def test_what_was_read_asks_for_a_span_of_so_many_times_its_age() -> None:
    """By hand: catches ages of states that weren't read, one demand for each query or head instead of the greatest, a
    demand beyond the longest span, a gradient for spans that are long enough, and an empty slot's infinite age."""
    spans = torch.tensor([[9.0, 5.0, 5.0, 5.0]], requires_grad=True)
    ages = torch.tensor([[[torch.inf, 4.0, 1.0, 0.0], [torch.inf, 5.0, 2.0, 1.0]]])
    weights = torch.zeros(1, 2, 2, 4)
    weights[0, 0, 0, 1] = 0.9  # at age 4, and by the other head at age 5: ten steps are asked for
    weights[0, 1, 1, 1] = 0.6
    weights[0, 0, 1, 2] = 0.7  # at age 2: four steps, which it has
    weights[0, 1, 0, 2:] = 0.45  # not read by this head
    shortfall = read_shortfall(spans, weights, ages, margin=2.0, max_span=100.0)
    assert shortfall.item() == pytest.approx((10 - 5) / 2)
    shortfall.backward()
    assert spans.grad is not None
    assert spans.grad.tolist() == [[0.0, -0.5, 0.0, 0.0]]
    assert read_shortfall(spans, weights, ages, margin=2.0, max_span=7.0).item() == pytest.approx((0.9 * 7 - 5) / 2)


def test_reading_lengthens_spans_and_changes_nothing_else() -> None:
    """Catches a shortfall that isn't of the layer's own attention, is also charged of a fixed span, has a gradient
    through what is read, or changes the outputs."""
    torch.manual_seed(0)
    x = 3 * make_stream(SHORT, steps=40).float()
    sizes: dict[str, Any] = {"dim": SHORT.dim, "depth": 1, "heads": 1, "slots": 16, "max_span": 32, "ramp_length": 4}
    cores = {margin: ExpireSpanCore(**sizes, initial_span=0.2, read_margin=margin) for margin in (0.0, 1.0, 3.0)}
    for core in cores.values():
        core.load_state_dict(cores[0.0].state_dict())
    outs = {margin: core(x) for margin, core in cores.items()}
    assert all(torch.equal(out.output, outs[0.0].output) for out in outs.values())
    assert 0 == outs[0.0].read_shortfall < outs[1.0].read_shortfall < outs[3.0].read_shortfall
    outs[3.0].read_shortfall.backward()
    touched = {name for name, weight in cores[3.0].named_parameters() if weight.grad is not None and weight.grad.any()}
    assert {name.split(".")[2] for name in touched} <= {"expire_span", "norm"}
    bias = cores[3.0].blocks[0].get_parameter("expire_span.to_expiration.bias")
    assert bias.grad is not None
    assert bias.grad.item() < 0  # so a step of gradient descent lengthens
    assert ExpireSpanCore(**sizes, spans="fixed", read_margin=3.0)(x).read_shortfall == 0


def test_spans_can_be_left_to_reading() -> None:
    """Catches a reward's gradient that still reaches the spans, a core that no longer fades its states, and reading
    that has no gradient there either."""
    x = 3 * make_stream(SHORT, steps=40).float()
    sizes: dict[str, Any] = {"dim": SHORT.dim, "depth": 1, "heads": 1, "slots": 16, "max_span": 32, "ramp_length": 4}
    kept, cut = (ExpireSpanCore(**sizes, initial_span=0.2, read_margin=2, ramp_gradient=flag) for flag in (True, False))
    cut.load_state_dict(kept.state_dict())
    outs = kept(x), cut(x)
    assert torch.equal(outs[0].output, outs[1].output)
    for core, out in zip((kept, cut), outs, strict=True):
        out.output.square().sum().backward(retain_graph=True)
        bias = core.blocks[0].get_parameter("expire_span.to_expiration.bias")
        assert (bias.grad is not None and bool(bias.grad.any())) == (core is kept)
    outs[1].read_shortfall.backward()
    bias = cut.blocks[0].get_parameter("expire_span.to_expiration.bias")
    assert bias.grad is not None
    assert bias.grad.item() < 0


def test_spans_that_nothing_asks_for_are_refused() -> None:
    """Catches a core whose spans only the price moves."""
    with pytest.raises(ValueError, match="ramp_gradient=False needs a read_margin"):
        ExpireSpanCore(8, 1, ramp_gradient=False)
    assert ExpireSpanCore(8, 1, ramp_gradient=False, spans="fixed").spans == "fixed"


@pytest.mark.parametrize("margin", [-1, 0.5, 101, float("nan")])
def test_margins_that_can_not_be(margin: float) -> None:
    """Catches a margin that would let what is read die sooner, and a message that doesn't say what is right."""
    with pytest.raises(ValueError, match="read_margin="):
        ExpireSpanCore(8, 1, read_margin=margin)
    with pytest.raises(ValueError, match="needs backend='plain'"):
        ExpireSpanCore(8, 1, read_margin=2, backend="sdpa")
