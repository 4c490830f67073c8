"""Schedules described and made again."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from agents.checkpoint import CheckpointError, schedule_from_tree, schedule_to_tree
from agents.checkpoint.schedules import ScheduleLike
from agents.checkpoint.tree import pack, unpack
from tests.agents.checkpoint.trees import same

NUMBERS = st.floats(allow_nan=False) | st.integers(-(10**6), 10**6)
LINEAR = st.builds(LinearSchedule, NUMBERS, NUMBERS, st.floats(0.01, 1))
SCHEDULES = NUMBERS | st.builds(ConstantSchedule, NUMBERS) | LINEAR | st.builds(FloatSchedule, NUMBERS | LINEAR)


def halved(progress: float) -> float:
    return progress / 2


def back(schedule: ScheduleLike, **custom_objects: object) -> ScheduleLike:
    tree = unpack(*pack(schedule_to_tree(schedule)))
    return schedule_from_tree(tree, "learning_rate", custom_objects or None)


@given(SCHEDULES, st.floats(0, 1))
def test_a_schedule_comes_back(schedule: ScheduleLike, progress: float) -> None:
    """Would catch: start and end in each other's place, a number rounded, the cast to float lost."""
    other = back(schedule)
    assert type(other) is type(schedule)
    if callable(schedule) and callable(other):
        assert repr(other) == repr(schedule)
        assert same(other(progress), schedule(progress)) or math.isnan(schedule(progress))
    else:
        assert other == schedule


def test_numbers_of_numpy_are_numbers() -> None:
    """Would catch: a learning rate out of `np.logspace` taken for a function."""
    assert same(back(np.float32(0.1)), np.float32(0.1))


def test_functions_are_asked_for_by_name() -> None:
    """Would catch: saving that fails for a lambda, a function that is pickled, loading that goes on with a constant."""
    for schedule in (halved, lambda progress: progress, FloatSchedule(halved), np.sin):
        with pytest.raises(CheckpointError, match=r"pass custom_objects={'learning_rate': the function}"):
            back(schedule)
        with pytest.raises(CheckpointError):
            back(schedule, clip_range=halved)
    assert back(halved, learning_rate=halved) is halved
    wrapped = back(FloatSchedule(halved), learning_rate=halved)
    assert isinstance(wrapped, FloatSchedule)
    assert wrapped.value_schedule is halved
    with pytest.raises(CheckpointError, match=r"the function 'tests\.agents\.checkpoint\.test_schedules\.halved'"):
        back(halved)


def test_a_schedule_of_ones_own_is_a_function() -> None:
    """Would catch: a subclass that comes back as its base class, another function than was trained with."""

    class Steps(LinearSchedule):
        pass

    with pytest.raises(CheckpointError, match="was the function"):
        back(Steps(1, 0, 1))


@pytest.mark.parametrize(
    "tree",
    [
        None,
        True,
        "0.1",
        [],
        {},
        {"kind": "cosine"},
        {"kind": "constant"},
        {"kind": "constant", "value": "1"},
        {"kind": "constant", "value": 1, "more": 2},
        {"kind": "linear", "start": 1, "end": 0},
        {"kind": "linear", "start": 1, "end": 0, "end_fraction": None},
        {"kind": "float"},
        {"kind": "float", "schedule": "x"},
        {"kind": "function"},
    ],
    ids=str,
)
def test_damaged_descriptions_are_refused(tree: object) -> None:
    """Would catch: a schedule of strings that fails in the middle of a training."""
    with pytest.raises(CheckpointError, match=r"the schedule learning_rate .*take another checkpoint"):
        schedule_from_tree(tree, "learning_rate")
