"""Standard output that has the result alone."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept_for_the_result() -> Iterator[None]:
    """Within this block what goes to standard output comes to standard error: what environments print, the libraries
    and the processes that they start."""
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as after:
        # Theirs is the descriptor, not Python's file. A program that has none has nothing to keep clean.
        with contextlib.suppress(OSError):
            before = os.dup(1)
            after.callback(os.close, before)
            os.dup2(2, 1)
            after.callback(os.dup2, before, 1)
            after.callback(_flush)
        yield


def _flush() -> None:
    """Writes what libraries in C have printed and keep: they would write it at the program's end, after the result."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # a system whose C can't be asked
        ctypes.CDLL(None).fflush(None)
