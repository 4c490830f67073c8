"""Random trees, and what it means for two of them to be the same."""

import struct

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from agents.checkpoint import Tree
from agents.checkpoint.tree import DTYPES


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Tensors of every dtype, with any bits in them; scalar and empty ones too."""
    dtype = draw(st.sampled_from(list(DTYPES.values())))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    size = int(np.prod(shape)) * dtype.itemsize
    data = torch.tensor(list(draw(st.binary(min_size=size, max_size=size))), dtype=torch.uint8)
    return (data % 2 if dtype == torch.bool else data).view(dtype).reshape(shape)


def arrays() -> st.SearchStrategy[np.ndarray]:
    """NumPy's, of the same dtypes but bfloat16."""
    return tensors().filter(lambda tensor: tensor.dtype != torch.bfloat16).map(Tensor.numpy)


def trees() -> st.SearchStrategy[Tree]:
    """Everything that a checkpoint holds."""
    plain = st.none() | st.booleans() | st.integers() | st.integers(-(2**200), 2**200) | st.floats() | st.text()
    scalars = arrays().filter(lambda array: array.size > 0).map(lambda array: array.reshape(-1)[0])
    return st.recursive(
        plain | tensors() | arrays() | scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )


def same(one: Tree, other: Tree) -> bool:
    """Whether two trees are equal in types, dtypes, shapes, the order of keys, and to the last bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic | Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _bytes(one) == _bytes(other)
    if type(one) is float:
        return struct.pack(">d", one) == struct.pack(">d", other)
    return bool(one == other)


def _bytes(array: np.ndarray | np.generic | Tensor) -> bytes:
    if isinstance(array, Tensor):
        array = array.contiguous().reshape(-1).view(torch.uint8).numpy()
    return array.tobytes()
