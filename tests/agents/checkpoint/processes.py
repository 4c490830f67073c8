"""Processes that a test starts and kills."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

FORK = multiprocessing.get_context("fork")
"""Forked, since to import PyTorch anew in each would take seconds."""


@contextmanager
def forked(target: Callable[..., None], *arguments: Any) -> Iterator[BaseProcess]:
    """A child process that runs `target`; killed at the end, if it isn't dead by then."""
    process = FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        kill(process)


def kill(process: BaseProcess) -> None:
    """SIGKILL: nothing in the process runs any more, no `finally` and no `atexit`."""
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
