"""`expire-span results`: checks what is asked for, sees to it that it is worked on, and says what is left."""

import contextlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from experiments import runs
from experiments.callbacks import StopRequest, stop_on_signals
from experiments.config import ResultsConfig
from experiments.errors import UserError, user_errors
from experiments.results.matrix import Cell, cells, counts
from experiments.results.report import report

_POLL = 0.2
"""Seconds between two looks at all workers."""


def results(config: ResultsConfig, program: str, arguments: list[str]) -> int:
    """Runs `expire-span results`.

    Args:
        config: the settings.
        program: how this program was called.
        arguments: its arguments, for the record and for the hint how to go on.

    Returns:
        The exit status: 0, also when the minutes are over; 1 if a run failed or workers died with runs left; 128 plus
        the signal that stopped it.

    Raises:
        UserError: for settings that can't be, before anything is written.
    """
    _check(config)
    if config.report:
        return report(config)
    matrix = cells(config)
    if config.list_:
        _print_list(matrix)
        return 0
    command = shlex.join([*program.split(), *arguments])
    with user_errors(OSError, prefix=f"--runs {config.runs}: "), stop_on_signals() as request:
        if config.retry:
            _forget_failures(matrix)
        stop_at = None if config.minutes is None else time.time() + 60 * config.minutes - config.reserve
        _work(config, command, stop_at, request)
    return _ending(matrix, request, command, is_over=stop_at is not None and time.time() >= stop_at - config.reserve)


def _check(config: ResultsConfig) -> None:
    """Raises a `UserError` for a number out of its range, or what this machine hasn't got."""
    if importlib.util.find_spec("fcntl") is None:
        raise UserError("results needs fcntl, which isn't there: take Linux or macOS")
    for name, value in (("workers", config.workers), ("torch-threads", config.torch_threads)):
        if value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    if not config.seeds:
        raise UserError("--seeds needs a seed, or several")
    if config.list_ and config.report:
        raise UserError("--list and --report exclude each other")
    if not 0 <= config.reserve < float("inf"):
        raise UserError(f"--reserve {config.reserve}: must be a number of seconds from 0")
    if config.minutes is not None and not 60 * config.minutes > 2 * config.reserve:
        raise UserError(
            f"--minutes {config.minutes}: leaves no time to run anything, since nothing begins in the last "
            f"{2 * config.reserve:.0f} seconds: give more, or a smaller --reserve"
        )
    runs.check_device(config.device)


def _print_list(matrix: list[Cell]) -> None:
    table = Table("task", "agent", "steps each", "seeds")
    for task, agent in dict.fromkeys((cell.task, cell.agent) for cell in matrix):
        row = [cell for cell in matrix if (cell.task, cell.agent) == (task, agent)]
        states: dict[str, list[str]] = {}
        for cell in row:
            states.setdefault(cell.state(), []).append(str(cell.seed))
        seeds = ", ".join(f"{state} {' '.join(of_state)}" for state, of_state in states.items())
        table.add_row(task, agent, f"{row[0].config.total_timesteps:,}", seeds)
    Console(highlight=False).print(table)


def _forget_failures(matrix: list[Cell]) -> None:
    for cell in matrix:
        if cell.state() == "failed":
            (cell.run_dir / runs.ERROR).unlink()


def _work(config: ResultsConfig, command: str, stop_at: float | None, request: StopRequest) -> None:
    from experiments.results.worker import Job, line_of, work

    job = Job(config, command, stop_at)
    if config.workers == 1:
        work(job, request)
        return
    running = {number: _started(line_of(job)) for number in range(1, config.workers + 1)}
    try:
        while running:
            for number, worker in list(running.items()):
                if request.signal and worker.stdin is not None:
                    # To a worker that means: save and end.
                    worker.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = worker.wait(_POLL / len(running))
                    del running[number]
                    if status:
                        _say(f"worker {number} was ended by {_cause(status)}; its run goes on from its last checkpoint")
    finally:
        for worker in running.values():
            worker.kill()
            worker.wait()


def _started(line: str) -> "subprocess.Popen[str]":
    """A worker's process. In a group of its own: Ctrl-C is this process's, which has its own way to end a worker."""
    # -P: nothing of the folder that we happen to be called in, unless this process, too, finds it there.
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "experiments.results.worker"],
        stdin=subprocess.PIPE,
        stdout=sys.__stderr__,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        process_group=0,
    )
    assert worker.stdin is not None
    worker.stdin.write(line)
    worker.stdin.flush()
    return worker


def _cause(status: int) -> str:
    return f"status {status}" if status > 0 else f"signal {-status} (9 is mostly for want of memory)"


def _ending(matrix: list[Cell], request: StopRequest, command: str, is_over: bool) -> int:
    """Says what there is now and what is left; the exit status."""
    number_of = counts([cell.state() for cell in matrix])
    print(", ".join(f"{count} {state}" for state, count in number_of.items()))
    if "stale" in number_of:
        _say(
            "stale: results of other settings than their tasks have now (--report names them); remove them to run anew"
        )
    if "failed" in number_of:
        failed = ", ".join(str(cell.run_dir / runs.ERROR) for cell in matrix if cell.state() == "failed")
        _say(f"failed runs are tried again with --retry; what went wrong: {failed}")
    left = number_of.get("new", 0) + number_of.get("interrupted", 0)
    if left:
        _say(f"{left} runs are left; to go on: {command}")
    if request.signal and request.signal != signal.SIGALRM:
        return 128 + request.signal
    return 1 if "failed" in number_of or (left and not is_over) else 0


def _say(text: str) -> None:
    print(f"expire-span: {text}", file=sys.stderr, flush=True)
