"""That shapes in signatures are checked while the tests run, though not at every call."""

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from envs.batched.counter_random import draw_offsets, uniforms
from tests.shape_checks import EVERY, FIRST, begin_test, checked


def test_the_packages_are_checked() -> None:
    """Catches: a hook that isn't there, so that no test sees a wrong shape."""
    with pytest.raises(jaxtyping.TypeCheckError, match="keys"):
        uniforms(torch.zeros(3, dtype=torch.float32), draw_offsets(1, torch.device("cpu")))


@jaxtyping.jaxtyped(typechecker=checked)
def _halved(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return x[: len(x) // 2]


def _is_checked() -> bool:
    try:
        _halved(torch.zeros(4))
    except jaxtyping.TypeCheckError:
        return True
    return False


def test_first_calls_of_a_test_and_some_of_the_others() -> None:
    """Catches: checks of arguments alone; checks that end with the first test, or that never end."""
    for _ in range(2):
        seen = [_is_checked() for _ in range(FIRST + 2 * EVERY)]
        assert all(seen[:FIRST])
        assert sum(seen[FIRST:]) == 2
        begin_test()
