"""Trees taken apart and put together."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from agents.checkpoint import CheckpointError, Tree
from agents.checkpoint.tree import MAX_DEPTH, pack, unpack
from tests.agents.checkpoint.trees import same, trees


class Pair(NamedTuple):
    one: int
    two: int


@settings(max_examples=120)
@given(trees())
def test_a_tree_comes_back_as_it_was(tree: Tree) -> None:
    """Would catch: a float rounded, a NaN without its sign, a whole number cut to 64 bits, a NumPy scalar that comes
    back as a number of Python, keys in another order, two tensors of the same name."""
    packed = pack(tree)
    assert same(unpack(packed.document, packed.tensors), tree)


def nested(depth: int) -> Tree:
    """`depth` lists in one another."""
    tree: Tree = 1
    for _ in range(depth):
        tree = [tree]
    return tree


def test_a_tree_may_be_as_deep_as_promised_and_no_deeper() -> None:
    """Would catch: a tree that can be written and not read, a cycle that ends in a RecursionError."""
    deep = {"leaf": torch.ones(2)}
    for _ in range(MAX_DEPTH - 1):
        deep = {"deeper": deep}  # type: ignore[dict-item]
    assert same(unpack(*pack(deep)), deep)
    assert unpack(*pack(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    cycle: list[Any] = []
    cycle.append(cycle)
    for tree in (nested(MAX_DEPTH + 1), cycle):
        with pytest.raises(CheckpointError, match="more than 64 deep: make the tree flatter"):
            pack(tree)


def test_names_that_could_be_mixed_up_are_not() -> None:
    """Would catch: names that are joined keys, so that `{"a/b": x}` and `{"a": {"b": y}}` overwrite each other; a
    tensor that takes the place of the file's metadata."""
    tree = {
        "a/b": torch.tensor(0),
        "a": {"b": torch.tensor(1), "": torch.tensor(2), "~1": torch.tensor(3)},
        "a~1b": torch.tensor(4),
        "": {"": torch.tensor(5)},
        "__metadata__": torch.tensor(6),
        "list": [torch.tensor(7), {"0": torch.tensor(8)}],
    }
    document, tensors = pack(tree)
    assert len(tensors) == 9
    assert "__metadata__" not in tensors
    assert same(unpack(document, tensors), tree)


def test_state_dicts_and_parameters_are_taken() -> None:
    """Would catch: a policy's state, an `OrderedDict`, refused; gradients that come along with a parameter."""
    module = nn.Linear(3, 2)
    packed = pack({"state": module.state_dict(), "parameter": module.weight})
    tree = unpack(*packed)
    assert list(tree["state"]) == ["weight", "bias"]
    assert type(tree["parameter"]) is torch.Tensor
    assert not tree["parameter"].requires_grad
    assert torch.equal(tree["parameter"], module.weight)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3).T,
        np.arange(6)[::-2],
        np.broadcast_to(np.float32(3), (2, 2)),
        np.asfortranarray(np.ones((2, 3))),
    ],
    ids=["transposed", "backwards", "read-only", "Fortran"],
)
def test_arrays_lie_in_memory_however_they_like(array: np.ndarray) -> None:
    """Would catch: memory written out as it lies, in another order than the shape's; a warning for read-only arrays."""
    read = unpack(*pack(array))
    np.testing.assert_array_equal(read, array)
    assert read.flags.writeable


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((1, 2), "'/key' is a builtins.tuple, which a checkpoint doesn't hold: make it of"),
        (Pair(1, 2), r"'/key' is a tests\S+Pair, which"),
        (b"bytes", "builtins.bytes"),
        ({1, 2}, "builtins.set"),
        (print, "builtins.builtin_function_or_method"),
        ({1: 2}, "'/key' has the key 1, which isn't a string: make it one"),
        ({np.str_("a"): 2}, "which isn't a string"),
        ({"\ud800": 2}, r"'\\ud800', which isn't Unicode"),
        (np.array(["text"]), r"NumPy's dtype\('<U4'\)"),
        (np.array([None]), r"NumPy's dtype\('O'\)"),
        (np.array([1.0], ">f8"), "in the machine's byte order"),
        (np.longdouble(1), "floats of 64 bits at most"),
        (np.complex64(1), "a tensor of torch.complex64"),
        (np.datetime64("2020"), "M8"),
        (np.ma.masked_array([1, 2], [True, False]), "MaskedArray"),
        (torch.zeros(2, dtype=torch.complex64), "a tensor of torch.complex64"),
        (torch.zeros(2).to_sparse(), "torch.sparse_coo"),
        (torch.zeros(2, device="meta"), "on meta"),
    ],
    ids=repr,
)
def test_what_would_come_back_as_something_else_is_refused(value: object, said: str) -> None:
    """Would catch: a tuple that comes back as a list, a mask that is lost, an object that is pickled after all, an
    error that doesn't say where in the tree it is."""
    with pytest.raises(CheckpointError, match=said) as error:
        pack({"key": value})
    assert "\n" not in str(error.value)
    assert "/key" in str(error.value)


def test_subclasses_of_plain_values_are_refused() -> None:
    """Would catch: an enumeration's member or a text with a meaning of its own that comes back without it."""

    class Text(str):
        __slots__ = ()

    with pytest.raises(CheckpointError, match="Text"):
        pack([Text("a")])


@pytest.mark.parametrize(
    "node",
    [
        [],
        ["pickle", "x"],
        [1, 2],
        ["tensor", "name"],
        ["scalar"],
        ["array"],
        ["float", "7FF0000000000000"],
        ["float", "7ff0"],
        ["float", 1.0],
        ["int", "12"],
        ["int", "0x1_0"],
        ["int", "0x"],
        ["int", 12],
        ["list", ["tensor"]],
        {"a": ["unknown"]},
        nested(MAX_DEPTH + 2),
    ],
    ids=lambda node: json.dumps(node)[:30],
)
def test_documents_that_say_nothing_are_refused(node: object) -> None:
    """Would catch: a tag that is guessed, a number in a second spelling, a KeyError or a ValueError of Python's."""
    with pytest.raises(CheckpointError):
        unpack(json.dumps({"matrix": ["tensor"], "node": node}), {"/matrix": torch.zeros(2, 2)})


@pytest.mark.parametrize("tag", ["array", "scalar"])
def test_a_tag_must_fit_its_tensor(tag: str) -> None:
    """Would catch: bfloat16, which NumPy doesn't have, or a matrix in a scalar's place."""
    for tensor in (torch.zeros((), dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16)):
        with pytest.raises(CheckpointError, match="stands for nothing"):
            unpack(json.dumps([tag]), {"": tensor})
    with pytest.raises(CheckpointError, match="stands for nothing"):
        unpack('["scalar"]', {"": torch.zeros(1)})


def test_no_tensor_is_left_over_or_used_twice() -> None:
    """Would catch: a file that carries what nobody asked for, a document that isn't of this file."""
    document, tensors = pack({"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="'/b' has no place in the document"):
        unpack(document, tensors | {"/b": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="stands for nothing"):
        unpack(document, {})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "isn't JSON"),
        ("{", "isn't JSON"),
        ("1 2", "isn't JSON"),
        ('"', "isn't JSON"),
        ("NaN", "isn't finite"),
        ("-Infinity", "isn't finite"),
        ("1e999", "isn't finite"),
        ('{"a": 1, "\\u0061": 2}', "'a' twice"),
        ("1" * 21, "21 digits"),
        ("[" * 100_000, "deep"),
        ('{"a":' * 100_000, "deep"),
        ('["list"' + ",0" * 400_000 + "]", "more than 400000"),
        ('"' + '\\"' * 1_000_000, "isn't JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_json_has_one_meaning_and_a_bounded_size(document: str, said: str) -> None:
    """Would catch: Python's lenient reading of JSON (`NaN`, keys twice, the last one wins), a RecursionError, time that
    grows with the square of the text."""
    with pytest.raises(CheckpointError, match=said):
        unpack(document, {})
