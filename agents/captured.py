"""A fixed program on tensors that stay where they are: compiled, and on CUDA one captured graph."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import torch
from torch.nn.parameter import is_lazy

WARM_UPS = 3
"""Calls before a capture: libraries allocate, and compilers compile, in the first ones."""


class Machinery(NamedTuple):
    """How programs run."""

    device: torch.device
    """Where all of their tensors lie."""
    compiles: bool
    """Compile them with `torch.compile`."""
    captures: bool
    """Capture them as CUDA graphs, where `device` is of that kind."""


PROGRAMS = 1024
"""Versions of the same code that may be compiled in a process. PyTorch's limit is 8, after which it silently stops."""

Compiled = TypeVar("Compiled", bound=Callable[..., object])


def compiled(program: Compiled, device: torch.device) -> Compiled:
    """`torch.compile` with fixed shapes, for a device. Agents of many sizes in one process have as many versions of the
    same code."""
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, PROGRAMS)
    dynamo.accumulated_recompile_limit = max(dynamo.accumulated_recompile_limit, PROGRAMS)
    # On the CPU a step is a hundred kernels of some microseconds each, and Python takes as long to call one: what calls
    # them is C++, too.
    options: Any = {"cpp_wrapper": True} if device.type == "cpu" else None
    return torch.compile(program, dynamic=False, options=options)  # type: ignore[return-value]


def captured(program: Callable[[], None], restore: Callable[[], None], machinery: Machinery) -> Callable[[], None]:
    """What runs `program`: the replay of a CUDA graph, which costs the host one launch; or a plain call.

    Args:
        program: reads and writes tensors in place; may draw random numbers; waits for nothing.
        restore: called after each warm-up, to put back what lets `program` run again.
        machinery: whether to compile and to capture.
    """
    if machinery.compiles:
        program = compiled(program, machinery.device)
    if not (machinery.captures and machinery.device.type == "cuda"):
        return program
    # What is current is a stream of the first GPU, unless somebody says so; on another one nothing would be captured.
    with torch.cuda.device(machinery.device):
        stream = _stream(machinery.device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                program()
                restore()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # PyTorch's own stream for captures is one for the whole process, of whichever GPU came first.
        with torch.cuda.graph(graph, stream=stream):
            program()
    return graph.replay


def places(module: torch.nn.Module) -> tuple[int, ...]:
    """Where a module's tensors lie. What was captured goes on reading them there when the module has got others, as by
    `load_from_vector` or by a way to another device and back."""
    tensors = (*module.parameters(), *module.buffers())
    return tuple(0 if is_lazy(tensor) else tensor.data_ptr() for tensor in tensors)


@lru_cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which programs are captured on a device. One for all of them: cuBLAS keeps a workspace of 32 MiB
    for each stream that it has ever met."""
    return torch.cuda.Stream(device)
