"""Spaces described and made again."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agents.checkpoint import CheckpointError, Tree, space_from_tree, space_to_tree
from agents.checkpoint.tree import pack, unpack

INTEGERS = st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype, shape = np.dtype(draw(INTEGERS | FLOATS)), draw(SHAPES)
    elements = {} if dtype.kind != "f" else {"allow_nan": False}
    bounds = [draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **elements))) for _ in range(2)]  # type: ignore[arg-type]
    return spaces.Box(np.minimum(*bounds), np.maximum(*bounds), dtype=dtype.type)


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete:
    shape = draw(hnp.array_shapes(max_dims=2, max_side=4))
    counts = draw(hnp.arrays(np.int64, shape, elements=st.integers(1, 100)))
    return spaces.MultiDiscrete(counts, start=draw(hnp.arrays(np.int64, shape, elements=st.integers(-9, 9))))


SIMPLE = (
    boxes()
    | st.builds(spaces.Discrete, st.integers(1, 2**40), start=st.integers(-(2**40), 2**40))
    | multi_discretes()
    | st.builds(spaces.MultiBinary, st.integers(1, 9) | st.lists(st.integers(1, 4), min_size=1, max_size=3))
)
SPACES = st.recursive(
    SIMPLE, lambda inner: st.builds(spaces.Dict, st.dictionaries(st.text(max_size=4), inner, max_size=3)), max_leaves=5
)


def through_a_file(tree: Tree) -> Tree:
    return unpack(*pack(tree))


@given(SPACES)
def test_a_space_comes_back_equal(space: gym.Space[Any]) -> None:
    """Would catch: bounds rounded, a dtype or a start forgotten, an empty shape, keys in another order."""
    back = space_from_tree(through_a_file(space_to_tree(space)))
    assert back == space
    assert type(back) is type(space)
    assert str(back) == str(space)
    if isinstance(space, spaces.Box):
        assert isinstance(back, spaces.Box)
        np.testing.assert_array_equal(back.low, space.low)
        np.testing.assert_array_equal(back.high, space.high)


def test_a_box_without_bounds_draws_as_it_did() -> None:
    """Would catch: integers without a bound that come back with their dtype's, equal but drawn from otherwise."""
    for space in (
        spaces.Box(-np.inf, np.inf, (3,), np.int32),
        spaces.Box(0, np.inf, (2,), np.float32),
        spaces.Box(-np.inf, 5.0, (), np.float64),
    ):
        back = space_from_tree(through_a_file(space_to_tree(space)))
        for either in (space, back):
            either.seed(0)
        for _ in range(3):
            np.testing.assert_array_equal(back.sample(), space.sample())


def test_keys_keep_their_order() -> None:
    """Would catch: an extractor of a Dict that concatenates its parts in another order than it was trained with."""
    space = spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))])
    back = space_from_tree(through_a_file(space_to_tree(space)))
    assert isinstance(back, spaces.Dict)
    assert list(back.spaces) == list(space.spaces)


def test_the_dtype_of_a_discrete_is_kept() -> None:
    """Would catch: actions of another dtype than the environment's, which `==` doesn't see."""
    space = spaces.Discrete(3, dtype=np.uint8)
    back = space_from_tree(through_a_file(space_to_tree(space)))
    assert back.dtype == np.uint8


class Own(spaces.Box):
    """A Box that could mean anything."""


@pytest.mark.parametrize(
    "space", [spaces.Tuple([spaces.Discrete(2)]), spaces.Text(3), Own(0, 1), spaces.Dict(a=spaces.Text(3))], ids=str
)
def test_other_spaces_are_refused(space: gym.Space[Any]) -> None:
    """Would catch: a space described as something else than it is."""
    with pytest.raises(CheckpointError, match="can't be described: a checkpoint holds Box, Discrete"):
        space_to_tree(space)


BOX = space_to_tree(spaces.Box(0, 1, (2,)))
MULTI = space_to_tree(spaces.MultiDiscrete([2, 3]))


@pytest.mark.parametrize(
    "tree",
    [
        None,
        "Box",
        [],
        {},
        {"kind": "Tuple", "spaces": {}},
        {"kind": ["Box"]},
        {"kind": "Box"},
        BOX | {"more": 1},
        BOX | {"low": 0.0},
        BOX | {"low": np.zeros(3, np.float32)},
        BOX | {"low": np.full(2, np.nan, np.float32)},
        BOX | {"low": np.full(2, 2, np.float32)},
        BOX | {"low": np.zeros(2)},
        BOX | {"bounded_below": np.zeros(2)},
        BOX | {"bounded_above": np.zeros(3, np.bool_)},
        {"kind": "Discrete", "n": 0, "start": 0, "dtype": "int64"},
        {"kind": "Discrete", "n": 2**64, "start": 0, "dtype": "int64"},
        {"kind": "Discrete", "n": 2, "start": 0.5, "dtype": "int64"},
        {"kind": "Discrete", "n": True, "start": 0, "dtype": "int64"},
        {"kind": "Discrete", "n": 2, "start": 0, "dtype": "float32"},
        {"kind": "Discrete", "n": 2, "start": 0, "dtype": "os.system"},
        {"kind": "Discrete", "n": 2, "start": 0, "dtype": 7},
        MULTI | {"nvec": [2, 3]},
        MULTI | {"nvec": np.array([2, -3])},
        MULTI | {"nvec": np.array([2.0, 3.0]), "start": np.zeros(2)},
        MULTI | {"start": np.zeros(3, np.int64)},
        {"kind": "MultiBinary", "n": 0},
        {"kind": "MultiBinary", "n": [2, "3"]},
        {"kind": "MultiBinary", "n": None},
        {"kind": "Dict", "spaces": []},
        {"kind": "Dict", "spaces": {"a": {"kind": "Dict", "spaces": {"b": 1}}}},
    ],
    ids=str,
)
def test_damaged_descriptions_are_refused(tree: Tree) -> None:
    """Would catch: an exception of gymnasium's or NumPy's, a space with bounds that can't be, a name looked up."""
    with pytest.raises(CheckpointError, match=": take another checkpoint") as error:
        space_from_tree(tree)
    assert "\n" not in str(error.value)
