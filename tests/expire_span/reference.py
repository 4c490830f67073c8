"""The memory core once more, as slowly and plainly as it can be written: what the tests hold the fast one to.

It knows no slots, segments, caches or back-ends. It takes whole streams from their first step, goes through batch
rows, layers, steps and heads in Python loops, and for each query picks the visible states from the definition:

    itself, and of the earlier live states of its episode the `slots` with the latest death time (ties: the newest).

    e_i = max_span * sigmoid(w . n_i + b)           span, predicted from the normalised state n_i
    d_i = i + e_i                                   death time, on the stream's own clock
    m   = clamp(1 + (e_i - a) / R, 0, 1), a = t - i expire mask of state i at query t; live while m > 0
    logit = q_t . k_i / sqrt(d) + [a < seq_len] q_t . to_pos(emb(a)) / sqrt(d) + ln m
    and with positions by count, + q_t . to_log_pos ln(1 + c) / sqrt(d), c = the sum over the visible states j that are
    newer than i, the query's own included, of m_j, or of m_j sigmoid(q_t . k_j / sqrt(d) - threshold of the head)
    loss = mean over rows, steps, layers of the sum of e_i / R over the visible states with 0 < m < 1

Parameters are read from the core under test; every formula is written out again here. Autograd goes through it, in
float64 where the core's parameters are float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Settings:
    """The core's constructor arguments, kept by the tests so that the reference doesn't ask the core for them."""

    dim: int = 8
    depth: int = 2
    heads: int = 2
    slots: int = 5
    max_span: float = 24
    ramp_length: int = 6
    seq_len: int = 8
    spans: Literal["learned", "fixed"] = "learned"
    ramp_power: float = 1.0
    log_position: bool = False
    count_matches: bool = False


@dataclass
class Reference:
    """What the definition gives for whole streams, and how much of it a test has exercised."""

    output: Tensor  # (batch, time, dim)
    span_loss: Tensor  # scalar, without coefficient
    live: list[set[tuple[int, int]]]  # for each row, {(time, layer)}: what the memory holds after the last step
    hidden: list[Tensor]  # for each layer (batch, time, dim): the states that a memory keeps
    spans: Tensor  # (layers, batch, time)
    masks: dict[tuple[int, int, int], dict[int, float]] = field(default_factory=dict)
    # ^ masks[layer, row, query][time]: expire mask of each visible earlier state
    evicted: int = 0  # pairs of a query and an earlier live state that doesn't fit the slots
    on_ramp: int = 0  # pairs of a query and a visible earlier state with 0 < m < 1
    expired: int = 0  # pairs of a query and an earlier state of its episode with m = 0


def linear(module: nn.Linear, vector: Tensor) -> Tensor:
    return module.weight @ vector + module.bias


def layer_norm(module: nn.LayerNorm, vector: Tensor) -> Tensor:
    centred = vector - vector.mean()
    return centred / torch.sqrt((centred * centred).mean() + module.eps) * module.weight + module.bias


def gelu(vector: Tensor) -> Tensor:
    return vector * 0.5 * (1 + torch.erf(vector / math.sqrt(2)))


def sinusoid(age: int, dim: int, like: Tensor) -> Tensor:
    angles = [age * 10000 ** (-j / dim) for j in range(0, dim, 2)]
    # Rounded as the core's are: its table is float32 whatever the precision.
    return torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles]).to(like)


def first_steps(episode_starts: Tensor | None, row: int, steps: int) -> list[int]:
    """For every step, the step at which its episode began."""
    first, firsts = 0, []
    for t in range(steps):
        if episode_starts is not None and bool(episode_starts[row, t]):
            first = t
        firsts.append(first)
    return firsts


def span_of(block: Any, settings: Settings, normed: Tensor) -> Tensor:
    if settings.spans == "fixed":
        return normed.new_tensor(float(settings.max_span))
    return settings.max_span * torch.sigmoid(linear(block.expire_span.to_expiration, normed)[0])


def number(value: Tensor) -> float:
    return float(value.detach())


def mask_of(span: Tensor, age: int, ramp_length: int) -> Tensor:
    return torch.clamp(1 + (span - age) / ramp_length, 0, 1)


def latest_deaths(spans: Sequence[Tensor], times: range, now: int, settings: Settings) -> tuple[list[int], int]:
    """Of the states of `times`, the live ones at step `now` that fit the slots, and how many live ones don't."""
    live = [i for i in times if number(mask_of(spans[i], now - i, settings.ramp_length)) > 0]
    latest_death_first = sorted(live, key=lambda i: (i + number(spans[i]), i), reverse=True)
    kept = latest_death_first[: settings.slots]
    return sorted(kept), len(live) - len(kept)


def attend_step(block: Any, settings: Settings, normed: Sequence[Tensor], t: int, masks: dict[int, Tensor]) -> Tensor:
    """Attention of step t over the states in `masks` {time: expire mask}, all heads, before the residual sum."""
    attention, dim = block.attention, settings.dim
    dim_head = dim // settings.heads
    query = linear(attention.to_q, normed[t])
    pairs = {i: linear(attention.to_kv, normed[i]) for i in masks}
    heads = []
    for head in range(settings.heads):
        part = slice(head * dim_head, (head + 1) * dim_head)
        logits, values = [], []
        counts = {i: query.new_tensor(number(mask)) for i, mask in masks.items()}
        if settings.count_matches:
            threshold = attention.count_threshold[head]
            for i in masks:
                match = query[part] @ pairs[i][:dim][part] / math.sqrt(dim_head)
                counts[i] = counts[i] * torch.sigmoid(match - threshold)
        for i, mask in masks.items():
            age = t - i
            logit = query[part] @ pairs[i][:dim][part]
            if age < settings.seq_len:
                logit = logit + query[part] @ linear(attention.to_pos, sinusoid(age, dim, query))
            if settings.log_position:
                newer = sum((count for time, count in counts.items() if time > i), query.new_zeros(()))
                logit = logit + query[part] @ attention.to_log_pos * torch.log(1 + newer)
            logits.append(logit / math.sqrt(dim_head) + torch.log(mask**settings.ramp_power))
            values.append(pairs[i][dim:][part])
        weights = torch.softmax(torch.stack(logits), dim=0)
        heads.append(sum((w * v for w, v in zip(weights, values, strict=True)), torch.zeros_like(values[0])))
    return linear(attention.to_out, torch.cat(heads))


def run_reference(
    core: Any,
    settings: Settings,
    x: Tensor,
    episode_starts: Tensor | None = None,
    oldest: Sequence[float] | None = None,
) -> Reference:
    """Whole streams `x` (batch, time, dim) from an empty memory.

    `episode_starts` (batch, time) bool: the step begins an episode. `oldest`: for each row the limit of random
    shortening; states older than it are unseen and uncharged, yet keep their slot.
    """
    batch, steps, _ = x.shape
    out = Reference(x, x.new_zeros(()), [set() for _ in range(batch)], [], torch.empty(0))
    states = [[x[row, t] for t in range(steps)] for row in range(batch)]
    charges: list[Tensor] = []
    all_spans = []
    for layer in range(settings.depth):
        block = core.blocks[layer]
        out.hidden.append(torch.stack([torch.stack(row) for row in states]))
        for row in range(batch):
            firsts = first_steps(episode_starts, row, steps)
            normed = [layer_norm(block.norm, h) for h in states[row]]
            spans = [span_of(block, settings, n) for n in normed]
            all_spans.append(torch.stack(spans))
            following = []
            for t in range(steps):
                times, evicted = latest_deaths(spans, range(firsts[t], t), t, settings)
                if oldest is not None:
                    times = [i for i in times if t - i <= oldest[row]]
                masks = {i: mask_of(spans[i], t - i, settings.ramp_length) for i in times}
                ramp = [i for i in times if 0 < number(masks[i]) < 1]
                charges += [spans[i] / settings.ramp_length for i in ramp]
                out.evicted += evicted
                out.on_ramp += len(ramp)
                out.expired += sum(
                    number(mask_of(spans[i], t - i, settings.ramp_length)) == 0 for i in range(firsts[t], t)
                )
                out.masks[layer, row, t] = {i: number(m) for i, m in masks.items()}
                masks[t] = torch.ones_like(spans[t])
                h = states[row][t] + attend_step(block, settings, normed, t, masks)
                inner = linear(block.feedforward.net[0], layer_norm(block.norm_feedforward, h))
                following.append(h + linear(block.feedforward.net[2], gelu(inner)))
            states[row] = following
            kept, _ = latest_deaths(spans, range(firsts[-1], steps), steps - 1, settings)
            out.live[row] |= {(i, layer) for i in kept}
    out.output = torch.stack([torch.stack([layer_norm(core.norm, h) for h in row]) for row in states])
    total = sum(charges, x.new_zeros(()))
    out.span_loss = total / (batch * steps * settings.depth)
    out.spans = torch.stack(all_spans).view(settings.depth, batch, steps)
    return out
