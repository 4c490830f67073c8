"""What an environment's stream carries from one call of the core to the next.

Letters: l layers, b batch (environments), s slots, h heads, d dim of a head, D dim.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Memory(NamedTuple):
    """Past states and their ages; of fixed shape, whatever was kept.

    A slot is empty when its age is infinite: its expire mask is then 0 by the ordinary formula, so no third
    tensor is needed, and resetting an environment is writing `inf`.
    """

    mems: Float[Tensor, "l b s D"]
    """Hidden states, un-normalised, as each layer received them. Empty slots hold finite numbers."""
    elapsed_times: Float[Tensor, "l b s"]
    """Steps since each state was produced, counted at the last step seen (whose own state, if kept, has 0)."""

    def detach(self) -> "Memory":
        """The same memory, cut off from the graph that made it."""
        return Memory(self.mems.detach(), self.elapsed_times)


def forget(elapsed_times: Float[Tensor, "l b s"], starts: Bool[Tensor, " b"]) -> Float[Tensor, "l b s"]:
    """Ages after an episode starts where `starts` says so: every slot of that environment is empty."""
    return elapsed_times.masked_fill(starts[:, None], torch.inf)


class CacheWrite(NamedTuple):
    """What one step adds to a cache: at most one state a layer, and the new ages."""

    slot: Int[Tensor, "l b"]
    """The slot with the earliest death (an empty one if there is any), where the new state goes."""
    kept: Bool[Tensor, "l b"]
    """False where the new state itself has the earliest death: nothing is written then."""
    state: Float[Tensor, "l b D"]
    key: Float[Tensor, "l b h d"]
    value: Float[Tensor, "l b h d"]
    span: Float[Tensor, "l b"]
    elapsed_times: Float[Tensor, "l b s"]


class Cache(NamedTuple):
    """A memory with what the current weights make of it, so that a step costs O(slots)."""

    memory: Memory
    keys: Float[Tensor, "l b h s d"]
    values: Float[Tensor, "l b h s d"]
    spans: Float[Tensor, "l b s"]

    def written(self, write: CacheWrite) -> "Cache":
        """A new cache with `write` in it; this one stays as it is."""
        return self._put(write, Tensor.index_put, write.elapsed_times.clone())

    def write_(self, write: CacheWrite) -> "Cache":
        """Puts `write` into this very cache. For its sole owner, the rollout."""
        return self._put(write, Tensor.index_put_, self.memory.elapsed_times.copy_(write.elapsed_times))

    def _put(self, write: CacheWrite, assign: Callable[..., Tensor], elapsed_times: Tensor) -> "Cache":
        """The cache that `assign` makes of each tensor with the write's row at its slot, where that is kept.

        By `index_put`, which torch.compile leaves in place; of `scatter` it makes a copy of the whole memory.
        """
        if self.spans.shape[-1] == 0:
            return self._replace(memory=Memory(self.memory.mems, elapsed_times))
        # One index a dimension, up to the slot's; heads, where there are any, lie before it.
        layers, environments, heads = (torch.arange(size, device=self.keys.device) for size in self.keys.shape[:3])

        def put(buffer: Tensor, new: Tensor, *place: Tensor) -> Tensor:
            kept = write.kept.reshape(*write.kept.shape, *(1,) * (new.dim() - 2))
            # A cache may have been made under autocast.
            return assign(buffer, place, torch.where(kept, new.to(buffer.dtype), buffer[place]))

        of_state = layers[:, None], environments, write.slot
        of_head = layers[:, None, None], environments[:, None], heads, write.slot[..., None]
        memory = Memory(put(self.memory.mems, write.state, *of_state), elapsed_times)
        return Cache(
            memory,
            put(self.keys, write.key, *of_head),
            put(self.values, write.value, *of_head),
            put(self.spans, write.span, *of_state),
        )
