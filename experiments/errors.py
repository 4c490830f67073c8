"""Mistakes of the user, and warnings, told in one line."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, TextIO

PROGRAM = "expire-span"
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
"""Gymnasium's, which would be rubbish in a file; the line says already that it's a warning."""


class UserError(Exception):
    """What the user asked for can't be done. The message is one line: what was wrong, what would be right."""

    status: ClassVar[int] = 2
    """The program's exit status."""


class TrainingFault(UserError):
    """A training was under way and failed. The message says where it can go on."""

    status = 1


class ActingFault(UserError):
    """Episodes were under way, and the environment failed."""

    status = 1


def one_line(error: BaseException) -> str:
    """The message of an exception, on one line; its type where it has none."""
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str | bytes):
        return f"{error.strerror}: {os.fsdecode(error.filename)}"  # without the number, and never as bytes
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def user_errors(*kinds: type[Exception], prefix: str = "") -> Iterator[None]:
    """Turns exceptions of these kinds, raised inside, into a `UserError` with the same message on one line.

    Args:
        kinds: exception types that a wrong setting raises at this place.
        prefix: put before the message, where the message alone doesn't say what it is about.
    """
    try:
        yield
    except kinds as error:
        raise UserError(prefix + one_line(error)) from error


def near_misses(name: str, known: Iterable[str]) -> str:
    """`did you mean A, B or C?`, or all the known names where none is near.

    Args:
        name: what the user wrote.
        known: the names there are.
    """
    known = sorted(set(known))
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if close:
        return f"did you mean {_listed([by_lower[item] for item in close])}?"
    shown = known if len(known) <= 12 else [*known[:12], "…"]
    return f"known: {', '.join(shown)}"


def _listed(names: list[str]) -> str:
    """`A`, `A or B`, `A, B or C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def say(text: str) -> None:
    """A line on standard error."""
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


def status_after(work: Callable[[], None]) -> int:
    """Does the work of a program of the maintainers', and is its exit status; a `UserError` is told in one line."""
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    return 0


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As `warnings.showwarning`, but on one line; other packages' inner affairs aren't the user's."""
    if issubclass(category, UserWarning) and "pkg_resources" not in str(message):
        text = one_line(message) if isinstance(message, Warning) else message
        print(f"{PROGRAM}: warning: {_COLOURS.sub('', text)}", file=file or sys.stderr)
