"""Trees of plain values, and the two parts that a file keeps of one: a JSON document, and tensors with names.

In the document an object is a dictionary, and an array begins with what it stands for:

    ["list", ...]         a list
    ["tensor"]            a PyTorch tensor, ["array"] a NumPy array, ["scalar"] a NumPy scalar
    ["float", "7ff0..."]  a number that JSON doesn't have, the eight bytes of it
    ["int", "-0x1f..."]   a whole number of 64 bits or more

A tensor's name is where it lies in the tree, as a JSON pointer (RFC 6901): the tensor at `tree["policy"]["a/b"]` is
`/policy/a~1b`. So no two have the same, and the document needn't name them.
"""

import math
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import strict_json
from agents.checkpoint.errors import CheckpointError, DamagedError, shown

Tree: TypeAlias = Any
"""None, bool, int, float, str, a PyTorch tensor, a NumPy array or scalar; lists, and dictionaries with string keys, of
these."""

MAX_DEPTH = 64
"""Lists and dictionaries that lie in one another."""

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""The dtypes that a checkpoint holds, by their names in safetensors."""

_FLOAT = re.compile(r"[0-9a-f]{16}")
_INT = re.compile(r"-?0x[0-9a-f]+")


class Packed(NamedTuple):
    """A tree in two parts."""

    document: str
    """JSON."""
    tensors: dict[str, Tensor]
    """By name; those that are the tree's own are on its device, and not copied."""


def pack(tree: Tree) -> Packed:
    """A document and tensors that `unpack` makes the same tree of.

    An `OrderedDict`, such as a `state_dict`, counts as a dictionary, a parameter as the tensor in it. Tensors that
    share memory no longer do so afterwards.

    Raises:
        CheckpointError: for anything that isn't a `Tree`; a tuple, say, would come back as something else.
    """
    tensors: dict[str, Tensor] = {}
    node = _packed(tree, "", MAX_DEPTH, tensors)
    return Packed(strict_json.dumps(node), tensors)


def unpack(document: str, tensors: Mapping[str, Tensor]) -> Tree:
    """The tree that `pack` took apart.

    Args:
        document: JSON.
        tensors: by name, on the CPU. NumPy arrays are views of them.

    Raises:
        DamagedError: if the document isn't one, or names other tensors than there are.
    """
    left = dict(tensors)
    tree = _unpacked(strict_json.loads(document, MAX_DEPTH + 1), "", left)
    if left:
        raise DamagedError(f"its tensor {shown(next(iter(left)))} has no place in the document")
    return tree


def fields(tree: Tree, what: str, *names: str) -> dict[str, Tree]:
    """The tree itself, once it is known to be a dictionary with these keys and no others.

    Args:
        tree: read from a file.
        what: what it describes, for the error.

    Raises:
        CheckpointError: if it isn't.
    """
    if not isinstance(tree, dict) or set(tree) != set(names):
        raise CheckpointError(
            f"the description of {what} should have {', '.join(names)}, and is {shown(tree)}: take another checkpoint"
        )
    return tree


def _packed(value: Tree, where: str, depth: int, tensors: dict[str, Tensor]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if value.bit_length() < 64 else ["int", hex(value)]
    if kind is float:
        return value if math.isfinite(value) else ["float", struct.pack(">d", value).hex()]
    if isinstance(value, Tensor):
        return _kept("tensor", value.detach(), where, tensors)
    if kind is np.ndarray or isinstance(value, np.generic):
        return _kept("array" if kind is np.ndarray else "scalar", _as_tensor(value, where), where, tensors)
    if not (isinstance(value, dict) or kind is list):
        raise CheckpointError(
            f"{shown(where)} is a {kind.__module__}.{kind.__qualname__}, which a checkpoint doesn't hold: make it of "
            f"None, bool, int, float, str, lists, dictionaries, tensors and arrays"
        )
    if depth == 0:
        raise CheckpointError(f"{shown(where)} lies more than {MAX_DEPTH} deep: make the tree flatter, without cycles")
    if kind is list:
        items = (_packed(item, f"{where}/{i}", depth - 1, tensors) for i, item in enumerate(value))
        return ["list", *items]
    for key in value:
        if type(key) is not str:
            raise CheckpointError(f"{shown(where)} has the key {shown(key)}, which isn't a string: make it one")
        if any("\ud800" <= letter <= "\udfff" for letter in key):
            raise CheckpointError(f"{shown(where)} has the key {shown(key)}, which isn't Unicode: give it another")
    return {key: _packed(item, _below(where, key), depth - 1, tensors) for key, item in value.items()}


def _below(where: str, key: str) -> str:
    """The pointer to a dictionary's item."""
    return f"{where}/{key.replace('~', '~0').replace('/', '~1')}"


def _kept(kind: str, tensor: Tensor, where: str, tensors: dict[str, Tensor]) -> list[str]:
    if tensor.dtype not in DTYPES.values() or tensor.layout != torch.strided or tensor.is_meta:
        raise CheckpointError(
            f"{shown(where)} is a tensor of {tensor.dtype}, {tensor.layout}, on {tensor.device}, which a checkpoint "
            f"doesn't hold: make it a dense one of {', '.join(map(str, DTYPES.values()))}"
        )
    tensors[where] = tensor
    return [kind]


def _as_tensor(array: np.ndarray | np.generic, where: str) -> Tensor:
    """A tensor of an array's values, of its memory where that can be."""
    try:
        return torch.from_numpy(np.require(array, requirements=["C", "W"]))
    except (TypeError, ValueError):
        raise CheckpointError(
            f"{shown(where)} is NumPy's {array.dtype!r}, which a checkpoint doesn't hold: make it bool, or integers or "
            f"floats of 64 bits at most in the machine's byte order"
        ) from None


def _unpacked(node: Any, where: str, left: dict[str, Tensor]) -> Tree:
    match node:
        case None | bool() | int() | float() | str():
            return node
        case dict():
            return {key: _unpacked(item, _below(where, key), left) for key, item in node.items()}
        case ["list", *items]:
            return [_unpacked(item, f"{where}/{i}", left) for i, item in enumerate(items)]
        case ["tensor"] if where in left:
            return left.pop(where)
        case ["array"] if where in left and left[where].dtype != torch.bfloat16:
            return left.pop(where).numpy()
        case ["scalar"] if where in left and left[where].dtype != torch.bfloat16 and left[where].dim() == 0:
            return left.pop(where).numpy()[()]
        case ["float", str(digits)] if _FLOAT.fullmatch(digits):
            return struct.unpack(">d", bytes.fromhex(digits))[0]
        case ["int", str(digits)] if _INT.fullmatch(digits):
            return int(digits, 16)
    raise DamagedError(f"its document says {shown(node)} at {shown(where)}, which stands for nothing in the file")
