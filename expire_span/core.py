"""The memory core: a Transformer-XL whose memories expire, over a segment or one step at a time.

Sources: Sukhbaatar et al. 2021, arXiv 2105.06548 (expire-span); Dai et al. 2019, arXiv 1901.02860 (Transformer-XL).

Letters: l layers, b batch (environments), t steps, s slots, n = s + t states, h heads, d dim of a head, D dim.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from expire_span.attention import Backend, Projection
from expire_span.block import ExpireSpanBlock
from expire_span.memory import Cache, CacheWrite, Memory, forget
from expire_span.precision import at_least_float32
from expire_span.settings import CoreSettings
from expire_span.span import Spans, expire_mask, read_shortfall, span_loss
from expire_span.visibility import Timeline, compete, keepers, weakest_slot


class CoreOutput(NamedTuple):
    """What the core makes of a segment."""

    output: Float[Tensor, "b t D"]
    memory: Memory
    """The memory after the segment's last step; not detached."""
    span_loss: Float[Tensor, ""]
    """Sum of e / R over the visible states on the ramp, mean over queries and layers; no coefficient."""
    mean_span: Float[Tensor, ""]
    """Mean over the segment's own states and the layers, in steps: what the span loss comes to in a stream without end,
    where each state lives its life out. States that outlive their episode are never on the ramp, and so never charged
    by the span loss; by this they are."""
    read_shortfall: Float[Tensor, ""]
    """Steps by which spans of states that were read fall short of `read_margin` times their age then: sum over states,
    mean over queries and layers. 0 without a margin. Of a state that is read several times in the segment the greatest
    demand counts, so that the sum over a stream is the less the longer its segments are."""


class StepOutput(NamedTuple):
    """What the core makes of one step."""

    output: Float[Tensor, "b D"]
    write: CacheWrite
    """What the step adds to the cache, for `Cache.written` or `Cache.write_`."""
    masks: Float[Tensor, "l b s"]
    """Expire mask of each slot as this step saw it; 0 where empty or expired."""
    attention: Float[Tensor, "l b h n"]
    """Attention weights over the slots and, last, the step itself."""
    evicted_live: Bool[Tensor, "l b"]
    """Whether a state that would still be live next step got no slot, for want of room."""


class ExpireSpanCore(nn.Module):
    """Pre-norm transformer blocks with an expiring memory each, and a final norm.

    Args:
        dim: size of a state; even, a multiple of `heads`.
        depth: number of layers.
        heads: attention heads a layer.
        slots: past states that a layer can keep; 0 for no memory at all (a step sees itself only).
        max_span: longest span, in steps.
        ramp_length: R, steps over which a state fades after its span ends.
        seq_len: ages below it have a relative position; older states have none, but by `log_position`.
        spans: `"learned"`, or `"fixed"` at `max_span`: with `max_span >= slots` a Transformer-XL of the same slots.
        initial_span: share of `max_span` that every span starts at, in (0, 1); default: see
            `CoreSettings.starting_share`.
        random_shortening: in training mode, draw l ~ U(0, max_span) for each row and call, and hide the states
            older than l; nothing is deleted by it.
        backend: attention back-end of `forward`: `"plain"`, `"sdpa"` or `"flex"` (without gradients only).
        ramp_power: p, by which a state's weight in attention is m^p; 1 is the paper's, higher ones let the reward's
            gradient reach a span all along the ramp (see `expire_span.span.log_mask`).
        read_margin: how many times the age at which it is read a state is to live, for `read_shortfall`; 0: nothing
            is asked for.
        log_position: a state has a position by the logarithm of how many live states are newer: attention can learn to
            prefer the newer of two states, and does so at ages that it has never seen (`expire_span.position`).
        count_matches: of these live states only those count that match the query, each head with a threshold that it
            learns, low at first; for `log_position`.
        ramp_gradient: the reward's gradient reaches a span while its state is on the ramp, as in the paper. Without it
            spans learn from what reading asks for and what memory costs alone, so it needs a `read_margin`.

    Raises:
        ValueError: for sizes that don't fit.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int = 4,
        slots: int = 64,
        max_span: float = 256,
        ramp_length: float = 16,
        seq_len: int = 64,
        *,
        spans: Spans = "learned",
        initial_span: float | None = None,
        random_shortening: bool = False,
        backend: Backend = "plain",
        ramp_power: float = 1.0,
        read_margin: float = 0.0,
        log_position: bool = False,
        count_matches: bool = False,
        ramp_gradient: bool = True,
    ) -> None:
        super().__init__()
        settings = CoreSettings(
            dim=dim,
            depth=depth,
            heads=heads,
            slots=slots,
            max_span=max_span,
            ramp_length=ramp_length,
            seq_len=seq_len,
            spans=spans,
            initial_span=initial_span,
            backend=backend,
            ramp_power=ramp_power,
            read_margin=read_margin,
            log_position=log_position,
            count_matches=count_matches,
            ramp_gradient=ramp_gradient,
        )
        self.learns_spans, self.initial_span = settings.learns_spans, settings.starting_share
        self.dim, self.depth, self.heads, self.slots = dim, depth, heads, slots
        self.max_span, self.ramp_length, self.seq_len = max_span, ramp_length, seq_len
        self.random_shortening, self.spans, self.ramp_power = random_shortening, spans, ramp_power
        self.read_margin, self.ramp_gradient, self.backend = read_margin, ramp_gradient, backend
        self.blocks = nn.ModuleList(ExpireSpanBlock(settings) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def empty_memory(self, batch: int) -> Memory:
        """A memory of `batch` streams in which every slot is empty, on the core's device."""
        weight = self.norm.weight
        mems = torch.zeros(self.depth, batch, self.slots, self.dim, device=weight.device, dtype=weight.dtype)
        ages = torch.full(mems.shape[:3], torch.inf, device=weight.device, dtype=torch.float32)
        return Memory(mems, ages)

    def forward(
        self,
        x: Float[Tensor, "b t D"],
        memory: Memory | None = None,
        episode_starts: Bool[Tensor, "b t"] | None = None,
    ) -> CoreOutput:
        """A whole segment in one call.

        Args:
            x: the segment's inputs, `(batch, steps, dim)`.
            memory: as left by the segment before; None for an empty one.
            episode_starts: True at the steps that begin an episode: they and what follows see nothing before.

        Returns:
            Outputs `(batch, steps, dim)`, the memory after the last step, and the span loss.

        Raises:
            ValueError: for shapes that don't fit.
        """
        memory = self._checked(x, memory, episode_starts)
        steps, oldest = x.shape[1], None
        if self.training and self.random_shortening:
            oldest = torch.rand(x.shape[0], 1, device=x.device) * self.max_span
        mems, elapsed_times, losses, spans_of_own, shortfalls = [], [], [], [], []
        for block, mem, elapsed in zip(self._layers, memory.mems, memory.elapsed_times, strict=True):
            states = torch.cat((mem, x), dim=1)
            normed = block.norm(states)
            projection = block.project(normed)
            spans = projection.spans
            timeline = Timeline.of_segment(elapsed, episode_starts, steps)
            competition = compete(timeline, spans, self.slots)
            ages = timeline.ages
            visible = timeline.visible(competition.evicted_at, oldest)
            attended = block(x, normed[:, -steps:], [projection], ages, visible)
            losses.append(span_loss(spans, attended.mask, self.ramp_length))
            spans_of_own.append(spans[:, -steps:].mean())
            shortfalls.append(self._shortfall(spans, attended.weights, ages))
            index, kept_ages = keepers(timeline, competition.rank, self.slots)
            mems.append(states.gather(1, index[..., None].expand(-1, -1, self.dim)))
            elapsed_times.append(kept_ages)
            x = attended.output
        after = Memory(torch.stack(mems), torch.stack(elapsed_times))
        means = (torch.stack(parts).mean() for parts in (losses, spans_of_own, shortfalls))
        return CoreOutput(self.norm(x), after, *means)

    def _shortfall(
        self, spans: Float[Tensor, "b n"], weights: Float[Tensor, "b h t n"] | None, ages: Float[Tensor, "b t n"]
    ) -> Float[Tensor, ""]:
        if self.spans == "fixed" or not self.read_margin or weights is None:
            return spans.new_zeros(())
        return read_shortfall(spans, weights, ages, self.read_margin, self.max_span)

    def cache(self, memory: Memory) -> Cache:
        """The memory with keys, values and spans as the weights are now; what `step` works on.

        Raises:
            ValueError: for a memory of another core's shape.
        """
        if memory.mems.dim() != 4:
            raise ValueError(f"memory.mems has the shape {tuple(memory.mems.shape)}; it must be 4-dimensional")
        self._check_memory(memory, memory.mems.shape[1])
        past = [block.project(block.norm(mem)) for block, mem in zip(self._layers, memory.mems, strict=True)]
        keys, values, spans = (torch.stack(parts) for parts in zip(*past, strict=True))
        return Cache(memory, keys, values, spans)

    def step(
        self, x: Float[Tensor, "b D"], cache: Cache, episode_starts: Bool[Tensor, " b"] | None = None
    ) -> StepOutput:
        """One step, O(slots): the same layers as `forward`, with the cached keys, values and spans.

        The cache isn't touched: the step's `write` says what to put there, if anything.

        Args:
            x: one input for each environment, `(batch, dim)`.
            cache: the cache before this step.
            episode_starts: True where this step begins an episode.

        Raises:
            ValueError: for shapes that don't fit.
        """
        batch = cache.memory.mems.shape[1]
        _check_shape("x", x, (batch, self.dim))
        _check_shape("episode_starts", episode_starts, (batch,))
        elapsed_times = cache.memory.elapsed_times
        if episode_starts is not None:
            elapsed_times = forget(elapsed_times, episode_starts)
        states, layers = x[:, None], []
        for block, ages, *past in zip(
            self._layers, elapsed_times + 1, cache.keys, cache.values, cache.spans, strict=True
        ):
            states, layer = _step(block, states, Projection(*past), ages)
            layers.append(layer)
        write = CacheWrite(*_stacked(layer.write for layer in layers))
        return StepOutput(self.norm(states).squeeze(1), write, *_stacked(layer[1:] for layer in layers))

    @property
    def _layers(self) -> list[ExpireSpanBlock]:
        return [block for block in self.blocks if isinstance(block, ExpireSpanBlock)]

    def _checked(self, x: Tensor, memory: Memory | None, episode_starts: Tensor | None) -> Memory:
        if x.dim() != 3:
            raise ValueError(f"x has the shape {tuple(x.shape)}; it must be (batch, steps, {self.dim})")
        batch, steps, dim = x.shape
        if dim != self.dim or steps == 0:
            raise ValueError(f"x has the shape {tuple(x.shape)}; it must be (batch, steps >= 1, {self.dim})")
        _check_shape("episode_starts", episode_starts, (batch, steps))
        memory = self.empty_memory(batch) if memory is None else memory
        self._check_memory(memory, batch)
        return memory

    def _check_memory(self, memory: Memory, batch: int) -> None:
        expected = (self.depth, batch, self.slots, self.dim)
        if memory.mems.shape != expected or memory.elapsed_times.shape != expected[:3]:
            raise ValueError(
                f"the memory has the shapes {tuple(memory.mems.shape)} and {tuple(memory.elapsed_times.shape)}; "
                f"they must be {expected} and {expected[:3]}: (layers, batch, slots, dim)"
            )


def _check_shape(name: str, tensor: Tensor | None, expected: tuple[int, ...]) -> None:
    if tensor is not None and tensor.shape != expected:
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)}; it must be {expected}")


def _stacked(layers: Iterable[tuple[Tensor, ...]]) -> Iterator[Tensor]:
    """Each of the tensors that the layers have, stacked over the layers."""
    return map(torch.stack, zip(*layers, strict=True))


class _LayerStep(NamedTuple):
    """A layer's part of a `StepOutput`."""

    write: CacheWrite
    mask: Float[Tensor, "b s"]
    attention: Float[Tensor, "b h n"]
    evicted_live: Bool[Tensor, " b"]


def _step(
    block: ExpireSpanBlock, states: Float[Tensor, "b 1 D"], past: Projection, ages: Float[Tensor, "b s"]
) -> tuple[Float[Tensor, "b 1 D"], _LayerStep]:
    """One layer's step from cached projections: the output, and what it writes."""
    # As in a segment, where float32 memory lies beside them: under autocast spans would be read from rounded numbers.
    normed = block.norm(at_least_float32(states))
    own = block.project(normed)
    all_ages = functional.pad(ages, (0, 1))[:, None]
    attended = block(states, normed, [past, own], all_ages, visible=None, backend="plain")
    assert attended.weights is not None
    span, slots = own.spans[:, 0], ages.shape[-1]
    if slots > 0:
        slot, remaining = weakest_slot(past.spans, ages)
        kept = span >= remaining
        loser = torch.where(kept, remaining, span)
        ages = ages.scatter(1, slot[:, None], torch.where(kept[:, None], 0, ages.gather(1, slot[:, None])))
    else:
        slot, kept, loser = span.long(), torch.zeros_like(span, dtype=torch.bool), span
    lost_mask = expire_mask(loser, torch.ones_like(loser), block.ramp_length)  # as the next step would have seen it
    write = CacheWrite(slot, kept, states[:, 0], own.keys[:, :, 0], own.values[:, :, 0], span, ages)
    return attended.output, _LayerStep(write, attended.mask[:, 0, :slots], attended.weights[:, :, 0], lost_mask > 0)
