"""Cores whose memory is a state of fixed size, another one after each step: cells, averages, filters.

Letters: b batch (environments, or segments of them), t steps, D dim.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from agents.cores.protocol import Memory, mapped


class StateOutput(NamedTuple):
    """What such a core makes of a segment."""

    output: Float[Tensor, "b t D"]
    memory: Memory
    """The state after the segment's last step; not detached."""


class StateStep(NamedTuple):
    """What such a core makes of one step."""

    output: Float[Tensor, "b D"]
    write: Memory
    """The state after the step."""


class StateCache(NamedTuple):
    """The state itself: nothing is to be computed beforehand."""

    memory: Memory

    def written(self, write: Memory) -> "StateCache":
        """A cache with another state; this one stays as it is."""
        return StateCache(write)

    def write_(self, write: Memory) -> "StateCache":
        """Puts the state into this cache's own tensors. For its sole owner, the rollout."""
        mapped(Tensor.copy_, self.memory, write)
        return self


class StateCore(nn.Module, ABC):
    """A `MemoryCore` of which two methods are to be written: `empty_memory` and `forward`. A step is a segment of one.

    Args:
        dim: size of inputs and outputs.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    @abstractmethod
    def empty_memory(self, batch: int) -> Any:
        """The state of `batch` streams before anything happened, on the core's device: a `NamedTuple` of tensors.

        Layers are in dimension 0 of each, environments in dimension 1.
        """

    @abstractmethod
    def forward(self, x: Float[Tensor, "b t D"], memory: Any, episode_starts: Bool[Tensor, "b t"]) -> StateOutput:
        """A whole segment in one call.

        Args:
            x: the segment's inputs, `(batch, steps, dim)`.
            memory: as left by the segment before.
            episode_starts: True at the steps that begin an episode: they and what follows see nothing before.
        """

    def cache(self, memory: Memory) -> StateCache:
        """What `step` works on."""
        return StateCache(memory)

    def step(self, x: Float[Tensor, "b D"], cache: StateCache, episode_starts: Bool[Tensor, " b"]) -> StateStep:
        """One step; the cache isn't touched: the step's `write` says what to put there, if anything."""
        output, memory = self(x[:, None], cache.memory, episode_starts[:, None])
        return StateStep(output[:, 0], memory)
