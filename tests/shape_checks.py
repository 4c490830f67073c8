"""Shapes and types in the packages' signatures are checked at some calls of each function in each test.

pytest's option in pyproject.toml has jaxtyping decorate every function of the packages. Checking every call took half
of the time of tests that step environments thousands of times. So of each function a test's first calls are checked,
and after them one of some. In a call that is passed over, shapes in a function's body aren't tied to its arguments'.
"""

import functools
from collections import Counter
from collections.abc import Callable
from types import CodeType
from typing import Any
from unittest.mock import patch

import jaxtyping
import torch
from beartype import BeartypeConf, beartype

FIRST = 6
"""Calls of a function that are checked in each test before any is passed over."""
EVERY = 64
"""Of the calls after them, one of so many is checked."""

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Beartype, but an int passes where a float is meant, as Python's typing rules say (PEP 484)."""

_calls: Counter[CodeType] = Counter()
_jaxtyped = jaxtyping.jaxtyped


def begin_test() -> None:
    """From now on the first calls are checked again."""
    _calls.clear()


def _sometimes(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """`jaxtyping.jaxtyped`, as its import hook calls it for functions and classes, but of functions some calls."""

    def decorate(function: Any) -> Any:
        code = getattr(function, "__code__", None)
        if code is None:
            return _jaxtyped(function, typechecker=typechecker)
        always: list[Any] = []

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            # A compiler would take the count for something to be guarded.
            if torch.compiler.is_compiling():
                return function(*args, **kwargs)
            number = _calls[code]
            _calls[code] = number + 1
            if number >= FIRST and number % EVERY:
                return function(*args, **kwargs)
            # Decorated here, as that costs most where functions are defined within others that pass it over.
            if not always:
                always.append(_jaxtyped(function, typechecker=typechecker))
            return always[0](*args, **kwargs)

        return call

    return decorate


def install() -> None:
    """Has jaxtyping's import hook check some calls; before the packages are imported."""
    patch.object(jaxtyping, "jaxtyped", _sometimes).start()
