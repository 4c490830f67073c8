"""What the memory did in a rollout: gathered on the device, read once."""

import torch
from torch import Tensor

from expire_span import StepOutput


class MemoryStatistics:
    """Sums over a rollout's steps; nothing waits for the device until `read`."""

    def __init__(self) -> None:
        self._steps = 0
        self._live: Tensor | None = None
        self._spans: list[Tensor] = []

    def add(self, step: StepOutput) -> None:
        """Counts one step of every environment."""
        live = (step.masks > 0).float().sum(-1).mean(-1)
        on_ramp = ((step.masks > 0) & (step.masks < 1)).float().sum(-1).mean(-1)
        sums = torch.stack((live, on_ramp, step.evicted_live.float().mean(-1)))
        self._live = sums if self._live is None else self._live + sums
        self._spans.append(step.write.span)
        self._steps += 1

    def read(self, slots: int) -> dict[str, float]:
        """The statistics by name.

        `live_memories`: past states with an expire mask above 0 that a step sees, mean over layers and steps;
        `live_fraction_of_slots`: the same as a share of the slots; `on_ramp`: the share of the live ones whose mask
        is below 1; `evicted_live`: states a step and layer that lost their slot while live; `span_*`: mean and
        quantiles of the spans predicted, in steps; `live_memories_layer_*`: live memories of each layer.
        """
        assert self._live is not None, "no step was counted"
        live, on_ramp, evicted = self._live / self._steps
        spans = torch.stack(self._spans).flatten()
        # torch.quantile takes 16 million elements at most; every k-th span says as much.
        spans = spans[:: max(1, len(spans) // 1_000_000)]
        quantiles = torch.quantile(spans, torch.tensor([0.1, 0.5, 0.9], device=spans.device, dtype=spans.dtype))
        values = torch.cat(
            (
                torch.stack((live.mean(), on_ramp.mean(), evicted.mean(), spans.mean())),
                quantiles,
                live,
            )
        ).tolist()
        live_memories, ramp, evicted_live, span_mean, q10, q50, q90, *layers = values
        statistics = {
            "live_memories": live_memories,
            "live_fraction_of_slots": live_memories / slots if slots else 0.0,
            "on_ramp": ramp / live_memories if live_memories else 0.0,
            "evicted_live": evicted_live,
            "span_mean": span_mean,
            "span_q10": q10,
            "span_q50": q50,
            "span_q90": q90,
        }
        return statistics | {f"live_memories_layer_{layer}": live for layer, live in enumerate(layers)}
