"""Programs, compiled."""

import torch
from torch._dynamo.utils import counters

from agents.captured import compiled


def test_many_programs_of_the_same_code_are_compiled() -> None:
    """Would catch: PyTorch's limit of eight versions of one code, after which agents of further sizes, in a search or a
    matrix of runs, are no longer compiled, and many times slower, with a mere warning."""

    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    before = counters["frames"]["ok"]
    for size in range(2, 13):
        assert torch.equal(compiled(doubled, torch.device("cpu"))(torch.ones(size)), torch.full((size,), 2.0))
    assert counters["frames"]["ok"] == before + 11
