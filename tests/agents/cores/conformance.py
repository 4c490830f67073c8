"""What every memory core must hold; a test of one inherits it, and says how it is made."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from agents.cores import Memory, MemoryCore, checked, mapped, tensors_of

BATCH, STEPS = 3, 12
CUTS = [[12], [4, 4, 4], [5, 7], [1] * 12]
"""Lengths of the segments that a stream is cut into."""


def stream(core: MemoryCore) -> tuple[Tensor, Tensor]:
    """Inputs, and episode starts inside and at the beginning of segments, others in each environment."""
    x = torch.randn(BATCH, STEPS, core.dim, generator=torch.Generator().manual_seed(0))
    starts = torch.zeros(BATCH, STEPS, dtype=torch.bool)
    starts[0, [0, 6]] = starts[1, [4, 5]] = True
    return x, starts


def segments(core: MemoryCore, x: Tensor, starts: Tensor, lengths: Sequence[int]) -> Tensor:
    """The outputs of segments that each go on from the last one's memory, not detached."""
    memory, outputs = core.empty_memory(len(x)), []
    for part, begun in zip(x.split(list(lengths), dim=1), starts.split(list(lengths), dim=1), strict=True):
        out = core(part, memory, begun)
        memory = out.memory
        outputs.append(out.output)
    return torch.cat(outputs, dim=1)


def steps(core: MemoryCore, x: Tensor, starts: Tensor) -> Tensor:
    """The outputs of single steps."""
    cache, outputs = core.cache(core.empty_memory(len(x))), []
    for t in range(x.shape[1]):
        step = core.step(x[:, t], cache, starts[:, t])
        cache = cache.written(step.write)
        outputs.append(step.output)
    return torch.stack(outputs, dim=1)


def gradients(core: MemoryCore, x: Tensor, outputs: Tensor) -> list[Tensor]:
    """Of a weighted sum of the outputs, in all parameters and inputs."""
    weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1))
    wanted = [*core.parameters(), x]
    found = torch.autograd.grad((outputs * weights).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(of) if grad is None else grad for of, grad in zip(wanted, found, strict=True)]


class CoreConformance(ABC):
    """Inherited by the tests of each core."""

    @abstractmethod
    def make(self) -> MemoryCore:
        """A small core, made anew."""

    @pytest.fixture
    def core(self) -> MemoryCore:
        torch.manual_seed(0)
        return self.make()

    def test_it_can_be_a_policys_core(self, core: MemoryCore) -> None:
        """Would catch: a member that is missing, a memory whose environments lie elsewhere than in dimension 1."""
        assert checked(core) is core
        assert isinstance(core, MemoryCore)
        assert isinstance(core, nn.Module)

    @pytest.mark.parametrize("lengths", CUTS, ids=str)
    def test_segments_are_cut_anywhere(self, core: MemoryCore, lengths: list[int]) -> None:
        """Would catch: a segment's end that can be told from its outputs or gradients."""
        x, starts = stream(core)
        x.requires_grad_()
        whole, cut = segments(core, x, starts, [STEPS]), segments(core, x, starts, lengths)
        torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-5)
        for mine, reference in zip(gradients(core, x, cut), gradients(core, x, whole), strict=True):
            torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-4)

    @torch.no_grad()
    def test_steps_are_segments(self, core: MemoryCore) -> None:
        """Would catch: acting by other rules than training."""
        x, starts = stream(core)
        torch.testing.assert_close(steps(core, x, starts), segments(core, x, starts, [STEPS]), rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_an_episodes_start_is_a_fresh_memory(self, core: MemoryCore) -> None:
        """Would catch: something that crosses an episode's start inside a segment."""
        x, starts = stream(core)
        starts[:] = False
        starts[:, 5] = True
        fresh = segments(core, x[:, 5:], starts[:, 5:], [STEPS - 5])
        torch.testing.assert_close(segments(core, x, starts, [STEPS])[:, 5:], fresh, rtol=1e-4, atol=1e-5)
        remembering = segments(core, x, torch.zeros_like(starts), [STEPS])[:, 5]
        assert ((remembering - fresh[:, 0]).abs().amax(-1) > 1e-4).all(), "nothing is remembered, so nothing can leak"

    @torch.no_grad()
    def test_environments_do_not_see_one_another(self, core: MemoryCore) -> None:
        """Would catch: a mean over the batch, a mask of the neighbour's."""
        x, starts = stream(core)
        before = segments(core, x, starts, [4, 8])
        x[0] += 1
        starts[0] = ~starts[0]
        after = segments(core, x, starts, [4, 8])
        torch.testing.assert_close(after[1:], before[1:], rtol=1e-5, atol=1e-6)

    def test_the_gradient_goes_back_to_the_episodes_start(self, core: MemoryCore) -> None:
        """Would catch: a state that is detached between steps, or a gradient that crosses an episode's start."""
        x, starts = stream(core)
        x.requires_grad_()
        starts[:] = False
        starts[:, 5] = True
        (grad,) = torch.autograd.grad(segments(core, x, starts, [STEPS])[:, -1].square().sum(), x)
        assert (grad[:, :5] == 0).all()
        assert (grad[:, STEPS - 3 :].abs().amax(-1) > 0).all()

    @torch.no_grad()
    def test_the_memory_keeps_its_form(self, core: MemoryCore) -> None:
        """Would catch: a shape or type that changes with what was seen, for which the buffer has no room."""

        def form(memory: Memory) -> list[tuple[str, torch.Size, torch.dtype]]:
            return [(name, part.shape, part.dtype) for name, part in memory._asdict().items()]

        x, starts = stream(core)
        empty = core.empty_memory(BATCH)
        after = core(x, empty, starts).memory
        written = core.cache(after).written(core.step(x[:, 0], core.cache(after), starts[:, 0]).write)
        assert form(empty) == form(after) == form(written.memory)

    @torch.no_grad()
    def test_what_is_written_where(self, core: MemoryCore) -> None:
        """Would catch: a step that changes its cache, a `written` that shares tensors with it, or a `write_` that puts
        others in their place, which a captured graph doesn't see."""
        x, starts = stream(core)
        memory = core(x, core.empty_memory(BATCH), starts).memory
        cache, own = core.cache(memory), core.cache(mapped(Tensor.clone, memory))
        before = [tensor.clone() for tensor in tensors_of(cache)]
        step = core.step(x[:, 0], cache, starts[:, 0])
        written = cache.written(step.write)
        assert all(map(torch.equal, tensors_of(cache), before))
        places = [tensor.data_ptr() for tensor in tensors_of(own)]
        own.write_(step.write)
        assert [tensor.data_ptr() for tensor in tensors_of(own)] == places
        assert all(map(torch.equal, tensors_of(own), tensors_of(written)))
        assert not all(map(torch.equal, tensors_of(own), before)), "nothing was written"
