"""`expire-span bench`: lets the rows be measured, by turns or one after the other, and puts them together."""

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from experiments.bench.memory import environments_that_fit
from experiments.bench.row import READY
from experiments.bench.rows import ROWS, STOCK, Job, jobs, train_config
from experiments.bench.table import print_table
from experiments.config import BenchConfig, TrainConfig, check_within
from experiments.environments import spaces_of
from experiments.errors import UserError, say, user_errors
from experiments.output import kept_for_the_result
from experiments.runs import check_device, written_whole

Result = dict[str, Any]

MEASURED = (
    *("device", "device_name", "torch_threads", "steps_per_second", "acting_share", "env_share", "update_share"),
    *("env_alone_steps_per_second", "acting_ms", "peak_memory_mib", "steps", "seconds", "warm_up_seconds"),
    *("unevenness", "turns"),
)
"""What a row's process says; null in a row that failed."""


def bench(config: BenchConfig) -> int:
    """Runs `expire-span bench`; prints the rows.

    Returns:
        0, or 1 if a row failed.

    Raises:
        UserError: for settings that can't be, before anything is measured.
    """
    with kept_for_the_result():
        check(config)
        chosen, notes = jobs(config)
        for note in notes:
            say(f"note: {note}")
        results = [described(job, answer) for job, answer in zip(chosen, by_turns(chosen), strict=True)]
    add_ratios(results)
    if config.output is not None:
        with user_errors(OSError, prefix=f"--output {config.output} can't be written: "):
            write(Path(config.output), results)
    if config.json:
        print(json.dumps(results))
    else:
        print_table(config, results)
    return 1 if any(result["error"] for result in results) else 0


def check(config: BenchConfig) -> None:
    """Raises a `UserError` for what no row could be measured with."""
    settings: TrainConfig = train_config(config, ROWS["serial"])
    settings.check()
    if not (math.isfinite(config.seconds) and config.seconds > 0):
        raise UserError(f"--seconds {config.seconds}: must be above 0")
    if config.turns is not None:
        check_within("turns", config.turns, 1)
    if config.agents == ():
        raise UserError(f"--agents needs the name of a row, or several, of {', '.join(ROWS)}")
    for name in config.agents or ():
        if name not in ROWS:
            raise UserError(f"--agents {name}: there is no such row, only {', '.join(ROWS)}")
    check_device(config.device)
    if config.output is not None:
        path = Path(config.output)
        if path.is_dir():
            raise UserError(f"--output {path} is a folder: give the name of a file")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            raise UserError(f"--output {path}: there is no folder {path.parent} that can be written")
    spaces_of(settings.env)


def by_turns(chosen: list[Job]) -> list[Result]:
    """What the rows' processes say, in their order. On the CPU all of them are alive, and measured by turns.

    A machine's speed changes within minutes: of rows that are measured one after the other, one meets the fast minutes.
    On CUDA they would share the device's memory, so there each is measured to its end before the next one begins.
    """
    config = chosen[0].config
    turns = config.turns or (1 if config.slots_table or check_device(config.device).type == "cuda" else 5)
    waiting: list[RowProcess] = []
    try:
        for number, job in enumerate(chosen, start=1):
            say(f"[{number}/{len(chosen)}] {job.name} ...")
            waiting.append(RowProcess(job, turns))
            waiting[-1].until_ready()
            if turns == 1:
                waiting[-1].take_turn()
        for turn in range(turns if turns > 1 else 0):
            say(f"turn {turn + 1} of {turns}")
            for process in waiting:
                process.take_turn()
        answers = [process.answer() for process in waiting]
    finally:
        for process in waiting:
            process.end()
    for job, answer in zip(chosen, answers, strict=True):
        say(f"{job.name}: {_brief(answer)}")
    return answers


def described(job: Job, answer: Result) -> Result:
    """The row of a job, without its ratio, from what its process said."""
    config = job.config
    if answer.get("free_mib") is not None:
        answer["error"] += _that_fit(job, answer["free_mib"])
    row = ROWS[job.key]
    ours = row.agent == "expire-span"
    settings = {
        "name": job.name,
        "agent": row.agent,
        "env": config.env_id,
        "env_args": list(config.env_args),
        "vec_env": row.vec_env,
        "n_envs": config.n_envs,
        "n_steps": config.n_steps,
        "batch_size": row.batch_size or config.batch_size,
        "n_epochs": config.n_epochs,
        "slots": config.slots if ours else None,
        "max_span": config.max_span if ours else None,
    }
    return settings | {name: answer.get(name) for name in (*MEASURED, "error")}


class RowProcess:
    """`experiments.bench.row` at work on a job, in a process of its own.

    Args:
        job: the row.
        turns: parts in which it is measured.
    """

    def __init__(self, job: Job, turns: int) -> None:
        # -P: nothing of the folder that we happen to be called in; it may have an `envs` of its own.
        command = [sys.executable, "-P", "-m", "experiments.bench.row"]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # `end` closes it
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=_environment()
        )
        self._last = ""
        self._say(json.dumps({"key": job.key, "config": dataclasses.asdict(job.config), "turns": turns}))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        # What has ended already says so in its answer.
        with contextlib.suppress(OSError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def until_ready(self) -> None:
        """Waits until it has warmed up, finished a turn, or ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._last = line.strip() or self._last
            if self._last == READY:
                self._last = ""
                return

    def take_turn(self) -> None:
        """Lets it measure a turn, and waits for it."""
        self._say("")
        self.until_ready()

    def answer(self) -> Result:
        """What it said last, once it has ended."""
        self.until_ready()
        status = self._process.wait()
        if status == 0 and self._last:
            answer: Result = json.loads(self._last)
            return answer
        if status < 0:
            return {"error": f"its process was ended by signal {-status}; 9 is mostly for want of memory"}
        self._errors.seek(0)
        last = next((line for line in reversed(self._errors.readlines()) if line.strip()), "it said nothing")
        return {"error": f"its process ended with status {status}: {last.strip()}"}

    def end(self) -> None:
        """Ends it, if it hasn't ended."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


def run_apart(job: Job) -> Result:
    """What the process of a job says, measured at one go."""
    process = RowProcess(job, turns=1)
    try:
        process.until_ready()
        process.take_turn()
        return process.answer()
    finally:
        process.end()


def _environment() -> dict[str, str]:
    """Of a row's process: it finds our packages where this process did."""
    paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _that_fit(job: Job, free_mib: float) -> str:
    """How many environments would fit, by two small measurements; said at the end of the error."""
    n_envs = job.config.n_envs
    sizes = max(1, n_envs // 16), max(2, n_envs // 8)
    probes = []
    for size in sizes:
        config = dataclasses.replace(job.config, n_envs=size, seconds=1e-3)
        peak = run_apart(dataclasses.replace(job, config=config)).get("peak_memory_mib")
        if peak is None:
            return f", nor do {size}"
        probes.append((size, peak))
    fit = environments_that_fit((probes[0], probes[1]), free_mib)
    return f" ({free_mib:,.0f} MiB free); about {min(fit, n_envs - 1):,} do"


def add_ratios(results: list[Result]) -> None:
    """Gives each row its `ratio` to the stock RecurrentPPO row of the same environment, the median of those of the
    turns; null without one."""
    stock = {
        (row["env"], tuple(row["env_args"])): row["turns"] for row in results if row["name"] == STOCK and row["turns"]
    }
    for row in results:
        base, speeds = stock.get((row["env"], tuple(row["env_args"]))), row["turns"]
        ratios = [] if base is None or speeds is None else [a / b for a, b in zip(speeds, base, strict=True)]
        row["ratio"] = round(median(ratios), 2) if ratios else None


def write(path: Path, results: list[Result]) -> None:
    """Writes the rows as JSON, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(results, indent=2) + "\n")


def _brief(result: Result) -> str:
    return f"failed: {result['error']}" if result.get("error") else f"{result['steps_per_second']:,.0f} steps/s"
