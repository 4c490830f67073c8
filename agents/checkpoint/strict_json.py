"""JSON from a file that nobody trusts: bounded before it is parsed, one meaning only."""

import json
import math
import re
from collections import Counter
from typing import Any

from agents.checkpoint.errors import DamagedError, shown

MAX_TOKENS = 400_000
"""Strings, brackets and commas in one text. Each costs about 100 bytes at most once it is an object of Python."""
MAX_DIGITS = 20
"""Of a whole number, as in 2 ** 64; Python's own limit is a setting, and its time grows with the square."""

# Possessive, so that a string costs no memory, and its end may be missing, so that each character is read once.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)


def dumps(value: Any) -> str:
    """JSON in ASCII, without spaces."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def loads(text: str, max_depth: int) -> Any:
    """The value of a JSON text.

    Args:
        text: of `MAX_TOKENS` strings, brackets and commas at most.
        max_depth: objects and arrays that lie in one another.

    Raises:
        DamagedError: beyond these limits, for what isn't JSON, for an object with a key twice, a whole number of
            more than `MAX_DIGITS` digits, and numbers that aren't finite.
    """
    _check_size(text, max_depth)
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_int=_whole, parse_float=_finite, parse_constant=_finite
        )
    except json.JSONDecodeError as error:
        raise DamagedError(f"it isn't JSON ({error})") from None


def _check_size(text: str, max_depth: int) -> None:
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(text), start=1):
        if count > MAX_TOKENS:
            raise DamagedError(f"it has more than {MAX_TOKENS} strings, brackets and commas")
        mark = text[token.start()]
        if mark in "[{":
            depth += 1
            if depth > max_depth:
                raise DamagedError(f"it is nested more than {max_depth} deep")
        elif mark in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) != len(pairs):
        (most, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise DamagedError(f"it has {shown(most)} twice")
    return items


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise DamagedError(f"it has a whole number of {len(digits)} digits, {MAX_DIGITS} at most are read")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise DamagedError(f"it has the number {shown(digits)}, which isn't finite")
    return value
