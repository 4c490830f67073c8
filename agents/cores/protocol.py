"""What a policy asks of its memory core. `expire_span.ExpireSpanCore` is one as it stands.

Letters: b batch (environments, or segments of them), t steps, D dim.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, SupportsIndex, TypeVar, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn


@runtime_checkable
class Memory(Protocol):
    """What an environment's stream carries: a `NamedTuple` of tensors (layers, environments, ...)."""

    @property
    def _fields(self) -> tuple[str, ...]: ...
    def _asdict(self) -> dict[str, Any]: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __getitem__(self, index: SupportsIndex, /) -> Tensor: ...


Named = TypeVar("Named", bound=Memory)


@runtime_checkable
class CoreOutput(Protocol):
    """What a core makes of a segment; `expire_span.CoreOutput` has the span loss beside it."""

    @property
    def output(self) -> Float[Tensor, "b t D"]:
        """What the heads read, of each step."""
        ...

    @property
    def memory(self) -> Memory:
        """After the segment's last step; not detached."""
        ...


@runtime_checkable
class CoreStep(Protocol):
    """What a core makes of one step; nothing is written yet."""

    @property
    def output(self) -> Float[Tensor, "b D"]:
        """What the heads read."""
        ...

    @property
    def write(self) -> Any:
        """What the step changes, for `CoreCache.written` or `write_`."""
        ...


@runtime_checkable
class CoreCache(Protocol):
    """What steps work on: the memory, and whatever the weights as they are make of it.

    A `NamedTuple` of tensors, or of named tuples of them, with environments in dimension 1.
    """

    @property
    def memory(self) -> Any:
        """The `Memory` that it is of, with all that was written since."""
        ...

    def written(self, write: Any) -> "CoreCache":
        """A new cache with `write` in it; this one stays as it is."""
        ...

    def write_(self, write: Any) -> "CoreCache":
        """Puts `write` into this very cache: into the same tensors, which a captured graph goes on reading."""
        ...


@runtime_checkable
class MemoryCore(Protocol):
    """A recurrent core: an `nn.Module` that goes over segments while it is trained, and step by step while it acts.

    Both must come to the same: a segment of t steps is t steps, each written before the next. No shape may depend on
    data and nothing may wait for the host, or neither CUDA graphs nor `torch.compile` can take it.
    """

    dim: int
    """Size of inputs and outputs."""

    def empty_memory(self, batch: int) -> Any:
        """The `Memory` of so many streams before anything happened, on the core's device."""
        ...

    def cache(self, memory: Any) -> CoreCache:
        """What `step` works on; may hold the very tensors of `memory`."""
        ...

    def step(self, x: Float[Tensor, "b D"], cache: Any, episode_starts: Bool[Tensor, " b"]) -> CoreStep:
        """One step of each stream; where `episode_starts` is True it sees nothing of before."""
        ...

    def __call__(self, x: Float[Tensor, "b t D"], memory: Any, episode_starts: Bool[Tensor, "b t"]) -> CoreOutput:
        """A whole segment, by the module's `forward`."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def mapped(function: Callable[..., Tensor], *memories: Named) -> Named:
    """The memory whose tensors a function makes of the corresponding tensors of these."""
    kind: Any = type(memories[0])
    memory: Named = kind(*map(function, *memories))
    return memory


def tensors_of(nested: Any) -> Iterator[Tensor]:
    """All tensors of a memory, or of a cache, in order."""
    for part in nested:
        if isinstance(part, Tensor):
            yield part
        else:
            yield from tensors_of(part)
