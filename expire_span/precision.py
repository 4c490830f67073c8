"""What stays in float32 where autocast makes matrix products of bfloat16: spans, positions and attention's scores."""

import torch
from jaxtyping import Float
from torch import Tensor


def at_least_float32(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The tensor in float32 if it is less precise, else as it is; for use with autocast off."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
