"""PyTorch's distributions, without a look at their arguments."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributions import Distribution


@contextmanager
def unvalidated() -> Iterator[None]:
    """Within this block `torch.distributions` doesn't check its arguments, for which it would wait for the device."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
