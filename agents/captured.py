"""A fixed program on tensors that stay where they are: on CUDA one captured graph, elsewhere a call."""

from collections.abc import Callable

import torch

WARM_UPS = 3
"""Calls before a capture: libraries allocate, and compilers compile, in the first ones."""


def captured(program: Callable[[], None], restore: Callable[[], None], graphs: bool) -> Callable[[], None]:
    """What runs `program`: the replay of a CUDA graph, which costs the host one launch; or `program` itself.

    Args:
        program: reads and writes tensors in place; may draw random numbers; waits for nothing.
        restore: called after each warm-up, to put back what lets `program` run again.
        graphs: whether to capture; only for CUDA.
    """
    if not graphs:
        return program
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            program()
            restore()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        program()
    return graph.replay
