"""`expire-span bench`: starts the rows, one after the other, and puts them together."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.bench.memory import environments_that_fit
from experiments.bench.rows import ROWS, STOCK, Job, jobs, train_config
from experiments.bench.table import print_table
from experiments.config import BenchConfig, TrainConfig
from experiments.environments import make
from experiments.errors import UserError, say, user_errors
from experiments.runs import check_device, written_whole

Result = dict[str, Any]

MEASURED = (
    *("device", "device_name", "torch_threads", "steps_per_second", "acting_share", "env_share", "update_share"),
    *("env_alone_steps_per_second", "acting_ms", "peak_memory_mib", "steps", "seconds", "warm_up_seconds"),
    "unevenness",
)
"""What a row's process says; null in a row that failed."""


def bench(config: BenchConfig) -> int:
    """Runs `expire-span bench`; prints the rows.

    Returns:
        0, or 1 if a row failed.

    Raises:
        UserError: for settings that can't be, before anything is measured.
    """
    check(config)
    chosen, notes = jobs(config)
    for note in notes:
        say(f"note: {note}")
    results = []
    for number, job in enumerate(chosen, start=1):
        say(f"[{number}/{len(chosen)}] {job.name} ...")
        result = measured(job)
        results.append(result)
        say(f"[{number}/{len(chosen)}] {job.name}: {_brief(result)}")
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
    if config.agents == ():
        raise UserError(f"--agents needs the name of a row, or several, of {', '.join(ROWS)}")
    check_device(config.device)
    if config.output is not None:
        path = Path(config.output)
        if path.is_dir():
            raise UserError(f"--output {path} is a folder: give the name of a file")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            raise UserError(f"--output {path}: there is no folder {path.parent} that can be written")
    make(settings.env).close()


def measured(job: Job) -> Result:
    """The row of a job, without its ratio."""
    answer = run_apart(job)
    config = job.config
    if answer.get("free_mib") is not None:
        answer["error"] += _that_fit(job, answer["free_mib"])
    row = ROWS[job.key]
    ours = row.agent == "expire-span"
    described = {
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
    return described | {name: answer.get(name) for name in (*MEASURED, "error")}


def run_apart(job: Job) -> Result:
    """What `experiments.bench.row` says of a job, in a process of its own."""
    text = json.dumps({"key": job.key, "config": dataclasses.asdict(job.config)})
    # -P: nothing of the folder that we happen to be called in; it may have an `envs` of its own.
    command = [sys.executable, "-P", "-m", "experiments.bench.row"]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, env=_environment(), check=False)
    lines = ended.stdout.splitlines()
    if ended.returncode == 0 and lines:
        answer: Result = json.loads(lines[-1])
        return answer
    if ended.returncode < 0:
        return {"error": f"its process was ended by signal {-ended.returncode}; 9 is mostly for want of memory"}
    last = next((line for line in reversed(ended.stderr.splitlines()) if line.strip()), "it said nothing")
    return {"error": f"its process ended with status {ended.returncode}: {last.strip()}"}


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
    """Gives each row its `ratio` to the stock RecurrentPPO row of the same environment; null without one."""
    stock = {
        (row["env"], tuple(row["env_args"])): row["steps_per_second"]
        for row in results
        if row["name"] == STOCK and row["steps_per_second"]
    }
    for row in results:
        base, speed = stock.get((row["env"], tuple(row["env_args"]))), row["steps_per_second"]
        row["ratio"] = None if base is None or speed is None else round(speed / base, 2)


def write(path: Path, results: list[Result]) -> None:
    """Writes the rows as JSON, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(results, indent=2) + "\n")


def _brief(result: Result) -> str:
    return f"failed: {result['error']}" if result["error"] else f"{result['steps_per_second']:,.0f} steps/s"
