"""Peak memory, and how many environments fit into what there is."""

import resource
import sys
from pathlib import Path

import torch

MIB = 2**20


def peak_memory_mib(device: torch.device) -> float:
    """MiB at most so far: on CUDA what PyTorch had allocated, on the CPU what this process had resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux's getrusage starts a child with its parent's peak, this doesn't.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def environments_that_fit(probes: tuple[tuple[int, float], tuple[int, float]], free_mib: float) -> int:
    """How many environments fit, by a line through two measurements, rounded down.

    Args:
        probes: two numbers of environments, the smaller first, each with its peak memory in MiB.
        free_mib: memory there is.

    Returns:
        The number; the greater of the two where memory didn't grow between them.
    """
    (few, low), (many, high) = probes
    each = (high - low) / (many - few)
    if each <= 0:
        return many
    return max(0, int((free_mib - (low - few * each)) / each))
