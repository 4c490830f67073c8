"""What the tests of the core share: settings, cores with spread-out spans, streams, and ways to run them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from expire_span import ExpireSpanCore, Memory
from tests.expire_span.reference import Reference, Settings

PLENTY = Settings(slots=64)
SHORT = Settings(slots=8)
STEEP = Settings(slots=8, ramp_power=4.0, log_position=True, count_matches=True)
BATCH, STEPS = 2, 48


def make_core(
    settings: Settings, seed: int = 5, dtype: torch.dtype = torch.float64, spread: float = 1.5, **options: Any
) -> ExpireSpanCore:
    """A core in evaluation mode whose every parameter is off its start and whose spans vary with the state."""
    torch.manual_seed(seed)
    core = ExpireSpanCore(
        settings.dim,
        settings.depth,
        settings.heads,
        settings.slots,
        settings.max_span,
        settings.ramp_length,
        settings.seq_len,
        spans=settings.spans,
        initial_span=0.25,
        ramp_power=settings.ramp_power,
        log_position=settings.log_position,
        count_matches=settings.count_matches,
        **options,
    ).to(dtype)
    with torch.no_grad():
        for name, parameter in core.named_parameters():
            scale = spread if name.endswith("to_expiration.weight") else 0.1
            parameter.add_(torch.randn_like(parameter) * scale)
    return core.eval()


def make_stream(
    settings: Settings, seed: int = 1, dtype: torch.dtype = torch.float64, steps: int = STEPS, batch: int = BATCH
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, steps, settings.dim, generator=generator, dtype=torch.float64).to(dtype)


def episodes(steps: int, *starts: Sequence[int]) -> Tensor:
    """(batch, steps) bool, true at the steps that each row lists."""
    out = torch.zeros(len(starts), steps, dtype=torch.bool)
    for row, listed in enumerate(starts):
        out[row, list(listed)] = True
    return out


class Run:
    """A stream through the core: outputs (batch, time, dim), mean span loss, and the last memory."""

    def __init__(self, output: Tensor, span_loss: Tensor, memory: Memory) -> None:
        self.output, self.span_loss, self.memory = output, span_loss, memory


def run_segments(
    core: ExpireSpanCore, x: Tensor, length: int, episode_starts: Tensor | None = None, memory: Memory | None = None
) -> Run:
    """The stream in segments of `length`, memory carried and not detached; the loss is the mean over the parts."""
    outputs, losses = [], []
    for start in range(0, x.shape[1], length):
        part = slice(start, start + length)
        starts = None if episode_starts is None else episode_starts[:, part]
        out = core(x[:, part], memory, starts)
        memory = out.memory
        outputs.append(out.output)
        losses.append(out.span_loss)
    assert memory is not None
    return Run(torch.cat(outputs, dim=1), torch.stack(losses).mean(), memory)


def run_steps(core: ExpireSpanCore, settings: Settings, x: Tensor, episode_starts: Tensor | None = None) -> Run:
    """The stream one `step` at a time with cached keys, values and spans; its loss read off the steps' masks."""
    cache = core.cache(core.empty_memory(x.shape[0]))
    outputs, losses = [], []
    for t in range(x.shape[1]):
        starts = None if episode_starts is None else episode_starts[:, t]
        out = core.step(x[:, t], cache, starts)
        on_ramp = (out.masks > 0) & (out.masks < 1)
        charged = torch.where(on_ramp, cache.spans / settings.ramp_length, torch.zeros_like(cache.spans))
        losses.append(charged.sum(dim=2).mean())
        cache = cache.written(out.write)
        outputs.append(out.output)
    return Run(torch.stack(outputs, dim=1), torch.stack(losses).mean(), cache.memory)


Runner = Callable[[ExpireSpanCore, Settings, Tensor, Tensor | None], Run]
RUNNERS: dict[str, Runner] = {
    "one segment": lambda core, settings, x, starts: run_segments(core, x, x.shape[1], starts),
    "segments of 16": lambda core, settings, x, starts: run_segments(core, x, 16, starts),
    "segments of 1": lambda core, settings, x, starts: run_segments(core, x, 1, starts),
    "steps": run_steps,
}


def live_memories(core: ExpireSpanCore, settings: Settings, memory: Memory, steps: int) -> list[set[tuple[int, int]]]:
    """For each row {(time, layer)} of the live states in `memory` after `steps` steps."""
    layers, batch, slots, _ = memory.mems.shape
    found: list[set[tuple[int, int]]] = [set() for _ in range(batch)]
    spans = core.cache(memory).spans
    for layer in range(layers):
        for row in range(batch):
            for slot in range(slots):
                age = float(memory.elapsed_times[layer, row, slot])
                if 1 + (float(spans[layer, row, slot].detach()) - age) / settings.ramp_length > 0:
                    entry = (steps - 1 - int(age), layer)
                    assert entry not in found[row], f"{entry} lies in two slots of row {row}"
                    found[row].add(entry)
    return found


def assert_memory_is(core: ExpireSpanCore, settings: Settings, memory: Memory, expected: Reference) -> None:
    """The live slots hold the states that the reference keeps: the same times, and the hidden states themselves."""
    steps = expected.output.shape[1]
    found = live_memories(core, settings, memory, steps)
    assert found == expected.live
    for row, entries in enumerate(found):
        for time, layer in entries:
            (slot,) = (memory.elapsed_times[layer, row] == steps - 1 - time).nonzero()
            state = memory.mems[layer, row, int(slot)]
            close(state, expected.hidden[layer][row, time], f"state of layer {layer}, time {time}")


def tolerance(dtype: torch.dtype) -> float:
    return 1e-8 if dtype == torch.float64 else 2e-5


def close(actual: Tensor, expected: Tensor, what: str, bound: float | None = None) -> None:
    """Equal to `bound` of the largest expected magnitude (1 at least)."""
    bound = tolerance(actual.dtype) if bound is None else bound
    scale = max(1.0, float(expected.detach().abs().max()))
    error = float((actual.detach().double() - expected.detach().double()).abs().max())
    assert error <= bound * scale, f"{what}: differs by {error:.2e} where {bound * scale:.2e} is allowed"


def gradients(
    core: ExpireSpanCore, x: Tensor, run: Callable[[Tensor], tuple[Tensor, Tensor]], seed: int = 7
) -> dict[str, Tensor]:
    """Gradients of a random projection of the outputs plus ten times the span loss, by parameter and of "x".

    A parameter that the result doesn't depend on has a gradient of zeros.
    """
    leaf = x.detach().clone().requires_grad_()
    output, span_loss = run(leaf)
    probe = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    names, parameters = zip(*core.named_parameters(), strict=True)
    total = (output * probe.to(output)).sum() + 10 * span_loss
    grads = torch.autograd.grad(total, [leaf, *parameters], allow_unused=True)
    wanted = [leaf, *parameters]
    filled = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, wanted, strict=True)]
    return dict(zip(["x", *names], filled, strict=True))


def assert_same_gradients(actual: dict[str, Tensor], expected: dict[str, Tensor], bound: float) -> None:
    """Each gradient within `bound` of the largest magnitude of its expected tensor."""
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.isfinite(actual[name]).all(), f"gradient of {name} isn't finite"
        scale = max(1e-3, float(gradient.abs().max()))
        error = float((actual[name].double() - gradient.double()).abs().max())
        assert error <= bound * scale, f"gradient of {name}: off by {error:.2e} at magnitude {scale:.2e}"


def assert_active(expected: Reference, settings: Settings) -> None:
    """The case tests what it claims to: spans spread, many states on the ramp, some expired, and crowding or none."""
    queries = len(expected.masks)
    assert float((expected.spans.max() - expected.spans.min()).detach()) > settings.max_span / 2
    assert expected.on_ramp > queries, "fewer than one state on the ramp for each query"
    assert expected.expired > queries
    if settings.slots < STEPS:
        assert expected.evicted > queries, "the slots were never short"
    else:
        assert expected.evicted == 0, "the slots were short"


def scripted(settings: Settings, spans: Sequence[Sequence[float]], seed: int = 3) -> tuple[ExpireSpanCore, Tensor]:
    """A core of one layer and a stream for which state i of each row has the span that the row's list gives.

    The spans 0 and max_span are exact (a saturated sigmoid), so that ties of death times are exact too; those in
    between are exact to rounding: keep their deaths apart. Needs at most dim - 2 states in all.
    """
    assert settings.depth == 1
    core = make_core(settings, seed)
    wanted = torch.tensor(spans, dtype=torch.float64)
    batch, steps = wanted.shape
    assert batch * steps <= settings.dim - 2, "more spans than one linear predictor can give"
    x = make_stream(settings, seed, steps=steps, batch=batch)
    block: Any = core.blocks[0]
    with torch.no_grad():
        logits = torch.logit(wanted / settings.max_span).clamp(-900, 900)
        normed = block.norm(x).reshape(-1, settings.dim)
        predictor = block.expire_span.to_expiration
        predictor.bias.zero_()
        predictor.weight.copy_(torch.linalg.lstsq(normed, logits.reshape(-1, 1)).solution.T)
    return core, x
