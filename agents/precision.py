"""How a model computes, acting and training alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from agents.unvalidated import unvalidated

Precision = Literal["float32", "tf32", "bf16"]


@contextmanager
def computing(device: torch.device, precision: Precision) -> Iterator[None]:
    """Within this block matrix products have this precision (`bf16` is autocast), and distributions aren't looked at.

    Raises:
        ValueError: where PyTorch was told its precision by its newer settings, which exclude this one.
    """
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError as error:
        raise ValueError(
            f"PyTorch's own fp32_precision settings (torch.backends.…) exclude precision={precision!r}, which says the "
            f"same by torch.set_float32_matmul_precision: leave them as they are at the start"
        ) from error
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    try:
        # No cache of weights cast before: a captured graph would go on reading them.
        with (
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False),
            unvalidated(),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
