"""`expire-span results`: checks what is asked for, sees to it that it is worked on, and says what is left."""

import importlib.util
import shlex
import signal
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments import contrib, runs
from experiments.callbacks import StopRequest, stop_on_signals
from experiments.config import ResultsConfig
from experiments.errors import UserError, say, user_errors
from experiments.output import kept_for_the_result
from experiments.results import recurrent_ppo
from experiments.results.matrix import Cell, cells, counts
from experiments.results.report import report
from experiments.workers import run_workers


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
    with kept_for_the_result():
        matrix = cells(config)
    if config.list_:
        if not Path(config.data).is_dir():
            say(f"--data {config.data} isn't there: the results that the repository has are in its clone")
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
    config.check()
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
    will_run = not (config.list_ or config.report)
    if will_run and recurrent_ppo.NAME in (config.agents or ()):
        why_not = contrib.missing()
        if why_not is not None:
            raise UserError(f"--agents {recurrent_ppo.NAME}: {why_not}")


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
    run_workers(
        "experiments.results.worker",
        line_of(job),
        config.workers,
        request,
        "its run is left to the others, from its last checkpoint",
    )


def _ending(matrix: list[Cell], request: StopRequest, command: str, is_over: bool) -> int:
    """Says what there is now and what is left; the exit status."""
    number_of = counts([cell.state() for cell in matrix])
    print(", ".join(f"{count} {state}" for state, count in number_of.items()))
    if "stale" in number_of:
        say("stale: results of other settings than their tasks have now (--report names them); remove them to run anew")
    if "failed" in number_of:
        failed = ", ".join(str(cell.run_dir / runs.ERROR) for cell in matrix if cell.state() == "failed")
        say(f"failed runs are tried again with --retry; what went wrong: {failed}")
    left = number_of.get("new", 0) + number_of.get("interrupted", 0)
    if left:
        say(f"{left} runs are left; to go on: {command}")
    if request.signal and request.signal != signal.SIGALRM:
        return 128 + request.signal
    return 1 if "failed" in number_of or (left and not is_over) else 0
