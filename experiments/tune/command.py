"""`expire-span tune`: checks what is asked for, sees to it that it is worked on, and tells what came of it."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

from experiments.callbacks import StopRequest, stop_on_signals
from experiments.config import TrainConfig, TuneConfig
from experiments.environments import fresh_seeds, training_envs
from experiments.errors import UserError, user_errors
from experiments.runs import check_device
from experiments.settings import with_settings
from experiments.train import build_model
from experiments.tune.fit import fitted
from experiments.tune.space import Dimension, default_search, parse_search

if TYPE_CHECKING:
    from experiments.tune.study import Study

_POLL = 0.2
"""Seconds between two looks at all workers."""


def tune(config: TuneConfig, program: str, arguments: list[str]) -> int:
    """Runs `expire-span tune`; prints the results on standard output.

    Args:
        config: the settings, presets already resolved.
        program: how this program was called.
        arguments: its arguments: for the record, for the hint how to go on, and since what they name isn't searched
            by default.

    Returns:
        The exit status: 0; 1 if no trial is complete, or trials are left because workers died; 128 plus the signal that
        stopped it.

    Raises:
        UserError: for settings that can't be, before anything is written.
    """
    check(config, arguments)
    dimensions = parse_search(config.search, config.train) or default_search(config.train, _names(arguments))
    _check_buildable(config.train, dimensions)
    config = dataclasses.replace(config, search=tuple(map(str, dimensions)))
    # These load Optuna, which `check` has found.
    from experiments.tune.results import print_tables, results
    from experiments.tune.study import Study, prepare

    command = shlex.join([*program.split(), *arguments])
    with user_errors(OSError, prefix=f"--study {config.study}: "):
        prepare(config)
        study = Study(config)
        with stop_on_signals() as request:
            _work(study, config, request, command)
        study.fail_dead()
        result = results(study, config)
    if config.json:
        print(json.dumps(result))
    else:
        print_tables(result)
    if request.signal:
        name = signal.Signals(request.signal).name
        _say(f"stopped by {name}; the study is kept. To go on: {command}")
        return 128 + request.signal
    if left := config.trials - sum(result[state] for state in ("complete", "pruned", "failed", "running")):
        _say(f"{left} trials are left; to go on: {command}")
    return 1 if left or not result["complete"] else 0


def check(config: TuneConfig, arguments: list[str]) -> None:
    """Raises a `UserError` for what can't be, whatever is searched."""
    for module, help_ in (("optuna", "pip install 'expire-span[tune]'"), ("fcntl", "take Linux or macOS")):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"tune needs {module}, which isn't installed: {help_}")
    train = config.train
    train.check()
    for name, given in (
        ("run-dir", train.run_dir is not None),
        ("overwrite", train.overwrite),
        ("resume", train.resume is not None),
    ):
        if given:
            raise UserError(f"--{name} is train's: the runs of a study lie in --study")
    for name, value in (
        ("trials", config.trials),
        ("startup-trials", config.startup_trials),
        ("workers", config.workers),
        ("keep-runs", config.keep_runs),
    ):
        if value < 1:
            raise UserError(f"--{name} {value}: must be at least 1")
    fresh_seeds(0, config.episodes)
    if sum(word.partition("=")[0] == "--search" for word in arguments) > 1:
        raise UserError("--search counts once: give it all that is searched, --search A=LOW:HIGH B=C,D")


def _names(arguments: list[str]) -> set[str]:
    """The settings that the command line names."""
    flags = (word.partition("=")[0] for word in arguments if word.startswith("--"))
    return {flag.removeprefix("--").replace("-", "_") for flag in flags}


def _check_buildable(config: TrainConfig, dimensions: list[Dimension]) -> None:
    """Raises a `UserError` if neither the first nor the last of what is searched makes an agent: then all trials would
    fail, for a reason that isn't searched."""
    device = check_device(config.device)
    first_error = None
    for end in (0, 1):
        values = {dimension.name: dimension.ends[end] for dimension in dimensions}
        candidate = fitted(with_settings(config, values), values.keys())
        try:
            vec_env = training_envs(candidate.env, candidate.seed, device)
            try:
                with warnings.catch_warnings():
                    # The trials themselves will say it.
                    warnings.simplefilter("ignore")
                    build_model(candidate, vec_env, device)
            finally:
                vec_env.close()
        except UserError as error:
            first_error = first_error or error
        else:
            return
    raise first_error or AssertionError


def _work(study: "Study", config: TuneConfig, request: StopRequest, command: str) -> None:
    """Works on the study, here or in processes of their own, until there is nothing left to do or a stop is asked
    for."""
    from experiments.tune.worker import work

    if config.workers == 1:
        work(study, config, request, command)
    else:
        _work_apart(config, request, command)


def _work_apart(config: TuneConfig, request: StopRequest, command: str) -> None:
    from experiments.tune.worker import job

    # What several would show of their trials' progress can't be told apart.
    quiet = dataclasses.replace(config, train=dataclasses.replace(config.train, progress="none"))
    running = {number: _started(job(quiet, command)) for number in range(1, config.workers + 1)}
    try:
        while running:
            for number, worker in list(running.items()):
                if request.signal and worker.stdin is not None:
                    # To a worker that means: end.
                    worker.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = worker.wait(_POLL / len(running))
                    del running[number]
                    if status:
                        _say(f"worker {number} was ended by {_cause(status)}; the trial that it had is done again")
    finally:
        for worker in running.values():
            worker.kill()
            worker.wait()


def _started(line: str) -> "subprocess.Popen[str]":
    """A worker's process. In a group of its own: Ctrl-C is this process's, which has its own way to end a worker."""
    # -P: nothing of the folder that we happen to be called in, unless this process, too, finds it there.
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "experiments.tune.worker"],
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


def _say(text: str) -> None:
    print(f"expire-span: {text}", file=sys.stderr, flush=True)
