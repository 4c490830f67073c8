"""What the memory did in a rollout: gathered on the device, read once."""

import torch
from jaxtyping import Int
from torch import Tensor

from agents.cores import CoreStep, MemoryCore
from expire_span import ExpireSpanCore, StepOutput


class MemoryStatistics:
    """Of a core of which nothing is known but that it is one: none."""

    def clear(self) -> None:
        """Begins a rollout."""

    def add(self, index: Int[Tensor, " 1"], step: CoreStep, rows: slice = slice(None)) -> None:
        """Counts one step of the environments `rows`; `index` is the step's number in the rollout."""

    def read(self) -> dict[str, float]:
        """The statistics by name, of a whole rollout."""
        return {}


def statistics_of(core: MemoryCore, n_steps: int, n_envs: int, device: torch.device) -> MemoryStatistics:
    """What counts in rollouts of so many steps and environments."""
    return SlotStatistics(n_steps, n_envs, core, device) if isinstance(core, ExpireSpanCore) else MemoryStatistics()


class SlotStatistics(MemoryStatistics):
    """Of an expiring memory: sums over a rollout's steps, in tensors that stay where they are.

    Nothing waits for the device until `read`.

    Args:
        n_steps: steps of a rollout.
        n_envs: environments.
        core: whose memory it is.
        device: of the tensors.
    """

    def __init__(self, n_steps: int, n_envs: int, core: ExpireSpanCore, device: torch.device) -> None:
        self._slots = core.slots
        # Live memories, those on the ramp, and live ones evicted, of each layer: means over environments, summed.
        self._sums = torch.zeros(3, core.depth, device=device)
        self._spans = torch.zeros(n_steps, core.depth, n_envs, device=device)

    def clear(self) -> None:
        """Begins a rollout."""
        self._sums.zero_()

    def add(self, index: Int[Tensor, " 1"], step: CoreStep, rows: slice = slice(None)) -> None:
        """Counts one step; see `MemoryStatistics.add`."""
        assert isinstance(step, StepOutput)
        live = (step.masks > 0).float().sum(-1).sum(-1)
        on_ramp = ((step.masks > 0) & (step.masks < 1)).float().sum(-1).sum(-1)
        sums = torch.stack((live, on_ramp, step.evicted_live.float().sum(-1)))
        self._sums.add_(sums, alpha=1 / self._spans.shape[-1])
        self._spans[..., rows].index_copy_(0, index, step.write.span[None])

    def read(self) -> dict[str, float]:
        """The statistics by name, of a whole rollout.

        `live_memories`: past states with an expire mask above 0 that a step sees, mean over layers and steps;
        `live_fraction_of_slots`: the same as a share of the slots; `on_ramp`: the share of the live ones whose mask
        is below 1; `evicted_live`: states a step and layer that lost their slot while live; `span_*`: mean and
        quantiles of the spans predicted, in steps; `live_memories_layer_*`: live memories of each layer.
        """
        live, on_ramp, evicted = self._sums / len(self._spans)
        spans = self._spans.flatten()
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
            "live_fraction_of_slots": live_memories / self._slots if self._slots else 0.0,
            "on_ramp": ramp / live_memories if live_memories else 0.0,
            "evicted_live": evicted_live,
            "span_mean": span_mean,
            "span_q10": q10,
            "span_q50": q50,
            "span_q90": q90,
        }
        return statistics | {f"live_memories_layer_{layer}": live for layer, live in enumerate(layers)}
