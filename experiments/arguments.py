"""`NAME=VALUE` words of the command line."""

import ast
import json
from collections.abc import Iterable
from typing import Any

from experiments.errors import UserError

Value = None | bool | int | float | str | bytes | list[Any] | tuple[Any, ...] | dict[str, Any]


def parse_value(text: str) -> Value:
    """A Python or JSON literal (`3`, `1e-3`, `true`, `None`, `[64, 64]`), else the text itself."""
    try:
        value: Value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass  # no literal, one of which nothing can be made, such as a set of lists, or one nested too deeply
    else:
        return value
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def parse_pairs(words: Iterable[str], flag: str) -> dict[str, Value]:
    """`("agent_view_size=3", "see_through_walls=true")` -> `{"agent_view_size": 3, "see_through_walls": True}`.

    Args:
        words: the words as given; of a name given twice the last one counts.
        flag: the option they were given to, for the error message.

    Raises:
        UserError: for a word that isn't NAME=VALUE.
    """
    pairs: dict[str, Value] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier() or not text:
            example = "ortho_init=False" if flag == "--policy-args" else "agent_view_size=3"
            raise UserError(f"{flag}: {word!r} isn't NAME=VALUE, for example {flag} {example}")
        pairs[name] = parse_value(text)
    return pairs


def merged(words: tuple[str, ...], more: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """`words` with those of `more` added, which win where the name is the same."""
    parse_pairs((*words, *more), flag)
    return tuple({word.partition("=")[0]: word for word in (*words, *more)}.values())
