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
    """Steps since each state was produced, counted at the last step seen (the newest state has 0)."""

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
        return self.clone().write_(write)

    def write_(self, write: CacheWrite) -> "Cache":
        """Puts `write` into this very cache. For its sole owner, the rollout."""
        self.memory.elapsed_times.copy_(write.elapsed_times)
        if self.spans.shape[-1] > 0:
            _put(self.memory.mems, 2, write.slot[..., None, None], write.state[:, :, None], write.kept)
            _put(self.keys, 3, write.slot[..., None, None, None], write.key[..., None, :], write.kept)
            _put(self.values, 3, write.slot[..., None, None, None], write.value[..., None, :], write.kept)
            _put(self.spans, 2, write.slot[..., None], write.span[..., None], write.kept)
        return self

    def clone(self) -> "Cache":
        """A copy that shares nothing with this cache."""
        return self.map(torch.clone)

    def select(self, environments: Int[Tensor, " m"]) -> "Cache":
        """The cache of some of the environments, in the order given."""
        return self.map(lambda tensor: tensor[:, environments])

    def map(self, function: Callable[[Tensor], Tensor]) -> "Cache":
        """This cache with `function` applied to each of its tensors (all have layers, batch in front)."""
        memory = Memory(function(self.memory.mems), function(self.memory.elapsed_times))
        return Cache(memory, function(self.keys), function(self.values), function(self.spans))


def _put(buffer: Tensor, dim: int, slot: Tensor, new: Tensor, kept: Tensor) -> None:
    """`buffer[.., slot, ..] = new` along `dim`, in place, where `kept`; `new` has size 1 there."""
    index = slot.expand_as(new)
    kept = kept.reshape(kept.shape + (1,) * (new.dim() - 2))
    buffer.scatter_(dim, index, torch.where(kept, new, buffer.gather(dim, index)))
