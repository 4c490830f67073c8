"""The work on the matrix: a run after the other, in this process or, as `python -m experiments.results.worker`, apart.

The process belongs to `expire-span results --workers N`, which starts it. It works until its standard input is closed,
by whoever started it or because that process has died, until the time is up, or until no run is left.
"""

import contextlib
import dataclasses
import json
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from agents.checkpoint import CheckpointError, folder_lock
from experiments import runs
from experiments.callbacks import StopRequest
from experiments.config import ResultsConfig
from experiments.errors import UserError, one_line, print_warning, say
from experiments.locks import Claims, alone
from experiments.results.matrix import Cell, cells
from experiments.results.run import run_cell
from experiments.settings import checked, kinds
from experiments.workers import stop_at_end_of_input

LOCK, CLAIMS = ".lock", ".working"
"""In the folder of the runs: who looks for work, and who works on what."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What there is to do, and how long."""

    config: ResultsConfig
    command: str
    """For the records of the runs."""
    stop_at: float | None
    """Time, as `time.time` has it, at which to save and stop; None for when all is done."""

    @property
    def begin_until(self) -> float:
        """Nothing new begins after this: it needs time to get to its first checkpoint."""
        return float("inf") if self.stop_at is None else self.stop_at - self.config.reserve


def work(job: Job, request: StopRequest) -> None:
    """Runs what is left of the matrix, until a stop is asked for or the time is up.

    Args:
        job: what to do.
        request: ends the work, and the run under way.
    """
    matrix = cells(job.config)
    folder = Path(job.config.runs)
    folder.mkdir(parents=True, exist_ok=True)
    claims, tried = Claims(folder / CLAIMS), set[str]()
    with _stopping_at(job.stop_at, request):
        while not request.signal and time.time() < job.begin_until:
            with alone(folder / LOCK):
                cell = next((cell for cell in matrix if cell.key not in tried and _is_left(cell, claims)), None)
                if cell is None:
                    return
                claims.take(cell.key)
            tried.add(cell.key)
            try:
                _work_on(cell, job, request)
            finally:
                with alone(folder / LOCK):
                    claims.release(cell.key)


def _is_left(cell: Cell, claims: Claims) -> bool:
    return cell.state() in ("new", "interrupted") and not claims.is_taken(cell.key)


@contextlib.contextmanager
def _stopping_at(when: float | None, request: StopRequest) -> Iterator[None]:
    if when is None:
        yield
        return

    def ask() -> None:
        request.signal = request.signal or signal.SIGALRM

    timer = threading.Timer(max(0.0, when - time.time()), ask)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _work_on(cell: Cell, job: Job, request: StopRequest) -> None:
    """Runs a cell and tells of it. What is wrong with one run doesn't stop the others."""
    say(f"{cell}: begun" if cell.state() == "new" else f"{cell}: gone on with")
    try:
        # What an environment prints isn't the result.
        with folder_lock(cell.run_dir), contextlib.redirect_stdout(sys.stderr):
            record = run_cell(cell, job.config, request, job.command)
    except CheckpointError as error:  # somebody else has the folder
        say(f"{cell}: left out: {one_line(error)}")
    except Exception as error:
        told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"
        if not (cell.run_dir / runs.ERROR).is_file():
            (cell.run_dir / runs.ERROR).write_text(traceback.format_exc())
        say(f"{cell}: failed: {told}")
    else:
        if record is None:
            say(f"{cell}: stopped; it is saved")
            return
        name = cell.definition.measure
        score = record.evaluation[name]
        say(f"{cell}: {name.replace('_', ' ')} {'unknown' if score is None else format(score, '.4g')}")


def line_of(job: Job) -> str:
    """What a worker's process is told on its standard input: one line."""
    return json.dumps(dataclasses.asdict(job)) + "\n"


def _told(line: bytes) -> Job:
    """The inverse of `line_of`."""
    content = json.loads(line)
    config = ResultsConfig(**checked("the job", content["config"], kinds(ResultsConfig)))
    return Job(config, content["command"], content["stop_at"])


def main() -> int:
    """Reads a job from standard input and works; the exit status is 0, or 2 if it can't be worked on."""
    job = _told(sys.stdin.buffer.readline())
    warnings.showwarning = print_warning
    request = StopRequest()
    stop_at_end_of_input(request)
    try:
        work(job, request)
    except (UserError, OSError) as error:
        say(f"error: {one_line(error)}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
