"""Random generators stopped and continued."""

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import mtrand

from agents.checkpoint import CheckpointError, Tree, random_states, read, restore_random_states, write


def draw() -> list[float]:
    """Some numbers from every generator, normal ones too, which are drawn in pairs."""
    numbers = [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()]  # noqa: NPY002
    return [*numbers, *torch.randn(3).tolist()]


@given(st.integers(0, 5), st.integers(0, 1000))
def test_the_same_numbers_are_drawn_again(normals: int, skipped: int) -> None:
    """Would catch: a generator that is left out, a normal number drawn in advance and forgotten, a position lost."""
    for _ in range(normals):
        draw()
    torch.rand(skipped)
    np.random.rand(skipped)  # noqa: NPY002
    random.gauss(0, 1)
    states = random_states()
    expected = [draw() for _ in range(3)]
    assert restore_random_states(states) is None
    assert [draw() for _ in range(3)] == expected


def test_states_pass_through_a_file(tmp_path: Path) -> None:
    """Would catch: states in a form that the file doesn't give back."""
    states = random_states()
    expected = draw()
    write(tmp_path / "x", states)
    restore_random_states(read(tmp_path / "x"))
    assert draw() == expected


def was_set(before: Any) -> bool:
    """Whether Python's generator is elsewhere than a few draws after `before`: beartype, which checks annotations while
    the tests run, draws from it."""
    after, generator = random.getstate(), random.Random()
    generator.setstate(before)
    for _ in range(100):
        if generator.getstate() == after:
            return False
        generator.getrandbits(32)
    return True


def changed(tree: Tree, path: str, value: object) -> Tree:
    """A copy with another value at `path`, keys joined by dots."""
    tree = copy.deepcopy(tree)
    *parents, last = path.split(".")
    inner = tree
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return tree


ZEROS = np.zeros(624, np.uint32)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("python", None),
        ("python.key", ZEROS),
        ("python.key", np.ones(623, np.uint32)),
        ("python.key", np.ones(624, np.int64)),
        ("python.key", [1] * 624),
        ("python.pos", 625),
        ("python.pos", -1),
        ("python.pos", 1.0),
        ("python.pos", True),
        ("python.gauss", "0"),
        ("python.more", 1),
        ("numpy.key", ZEROS),
        ("numpy.pos", 10**30),
        ("numpy.gauss", 1),
        ("numpy", []),
        ("torch", np.zeros(5056, np.uint8)),
        ("torch", np.zeros(3, np.uint8)),
        ("torch", np.zeros(5056, np.int64)),
        ("torch", torch.get_rng_state()),
        ("torch", None),
        ("cuda", None),
        ("cuda", {}),
        ("more", 1),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else type(value).__name__,
)
def test_a_bad_state_changes_nothing(path: str, value: object) -> None:
    """Would catch: generators of which some are set and others not, an exception that isn't ours, a state that makes
    the next normal number an endless loop."""
    tree = changed(random_states(), path, value)
    draw()
    python, numpy, cpu = random.getstate(), str(mtrand.get_state()), torch.get_rng_state()
    with pytest.raises(CheckpointError, match="take another checkpoint") as error:
        restore_random_states(tree)
    assert "\n" not in str(error.value)
    assert not was_set(python)
    assert str(mtrand.get_state()) == numpy
    assert torch.equal(torch.get_rng_state(), cpu)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without CUDA")
def test_states_of_devices_that_are_not_here_are_told() -> None:
    """Would catch: a checkpoint of a GPU that can't be read without one, or isn't said to go on otherwise."""
    tree = changed(random_states(), "cuda", [np.zeros(16, np.uint8)] * 2)
    assert restore_random_states(tree) == "2 CUDA devices had random states, and 0 are here"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_draws_the_same_again() -> None:
    """Would catch: a device's generator left out, or set to another's state."""
    torch.rand(3, device="cuda")
    states = random_states()
    expected = torch.rand(5, device="cuda")
    restore_random_states(states)
    assert torch.equal(torch.rand(5, device="cuda"), expected)
    with pytest.raises(CheckpointError):
        restore_random_states(changed(states, "cuda", [np.zeros(3, np.uint8)]))


def test_a_replaced_global_generator_is_refused() -> None:
    """Would catch: the state of one kind of generator described as another's."""
    states = random_states()
    old = mtrand.get_bit_generator()
    mtrand.set_bit_generator(np.random.PCG64(0))
    try:
        for attempt in (random_states, lambda: restore_random_states(states)):
            with pytest.raises(CheckpointError, match="global generator is a PCG64: take MT19937 back"):
                attempt()
    finally:
        mtrand.set_bit_generator(old)
