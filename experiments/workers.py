"""Worker processes of a command: who starts them waits for them, and a worker ends with whoever started it.

A worker is a module that reads one line, its job, from standard input, and works until that is closed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from experiments.callbacks import StopRequest
from experiments.errors import say, user_errors

_POLL = 0.2
"""Seconds between two looks at all workers."""


def run_workers(module: str, job: str, count: int, request: StopRequest, lost: str) -> None:
    """Starts workers and waits until all have ended; what is left of them when this is left is killed.

    Args:
        module: that is a worker's program.
        job: the line that each is told.
        count: of workers.
        request: when it is made, the workers are told to end.
        lost: what becomes of the work of one that died, for the message.

    Raises:
        UserError: if one can't be started; those that were are ended.
    """
    running: dict[int, subprocess.Popen[str]] = {}
    try:
        for number in range(1, count + 1):
            with user_errors(OSError, prefix=f"worker {number} of {count} can't be started: "):
                running[number] = _started(module)
            # One that has died already has no ears; its status is told below.
            with contextlib.suppress(BrokenPipeError):
                _tell(running[number], job)
        while running:
            for number, worker in list(running.items()):
                if request.signal and worker.stdin is not None:
                    # To a worker that means: save what there is to save, and end.
                    with contextlib.suppress(BrokenPipeError):
                        worker.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = worker.wait(_POLL / len(running))
                    del running[number]
                    if status:
                        say(f"worker {number} was ended by {_cause(status)}; {lost}")
    finally:
        for worker in running.values():
            worker.kill()
            worker.wait()


def stop_at_end_of_input(request: StopRequest) -> None:
    """In a worker, once the job has been read: makes the request when standard input is closed."""

    def wait() -> None:
        # The file itself: Python, when it ends, waits for whoever reads from `sys.stdin`.
        while os.read(0, 4096):
            pass
        request.signal = signal.SIGTERM

    threading.Thread(target=wait, daemon=True).start()


def _started(module: str) -> "subprocess.Popen[str]":
    """A worker's process. In a group of its own: Ctrl-C is this process's, which has its own way to end a worker."""
    # -P: nothing of the folder that we happen to be called in, unless this process, too, finds it there; nor then
    # before our own, since it may have an `envs`.
    paths = [str(Path(__file__).parents[1]), *sys.path]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=sys.__stderr__,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        process_group=0,
    )


def _tell(worker: "subprocess.Popen[str]", job: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(job)
    worker.stdin.flush()


def _cause(status: int) -> str:
    return f"status {status}" if status > 0 else f"signal {-status} (9 is mostly for want of memory)"
