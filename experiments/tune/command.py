"""`expire-span tune`: checks what is asked for, sees to it that it is worked on, and tells what came of it."""

import dataclasses
import importlib.util
import json
import shlex
import signal
import warnings
from typing import TYPE_CHECKING

from experiments.callbacks import StopRequest, stop_on_signals
from experiments.config import MOST_WORKERS, TrainConfig, TuneConfig, check_within
from experiments.environments import fresh_seeds, training_envs
from experiments.errors import UserError, say, user_errors
from experiments.model import build_model
from experiments.output import kept_for_the_result
from experiments.runs import check_device
from experiments.settings import with_settings
from experiments.tune.fit import fitted
from experiments.tune.space import Dimension, default_search, parse_search
from experiments.workers import run_workers

if TYPE_CHECKING:
    from experiments.tune.study import Study


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
    with kept_for_the_result():
        _check_buildable(config.train, dimensions)
    config = dataclasses.replace(config, search=tuple(map(str, dimensions)))
    # These load Optuna, which `check` has found.
    from experiments.tune.results import print_tables, results
    from experiments.tune.study import Study, prepare

    command = shlex.join([*program.split(), *arguments])
    with user_errors(OSError, prefix=f"--study {config.study}: "):
        prepare(config)
        study = Study(config)
        with stop_on_signals() as request, kept_for_the_result():
            _work(study, config, request, command)
        study.fail_dead()
        result = results(study, config)
    if config.json:
        print(json.dumps(result))
    else:
        print_tables(result)
    if request.signal:
        name = signal.Signals(request.signal).name
        say(f"stopped by {name}; the study is kept. To go on: {command}")
        return 128 + request.signal
    if left := config.trials - sum(result[state] for state in ("complete", "pruned", "failed", "running")):
        say(f"{left} trials are left; to go on: {command}")
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
        ("keep-runs", config.keep_runs),
    ):
        check_within(name, value, 1)
    check_within("workers", config.workers, 1, MOST_WORKERS)
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
    run_workers(
        "experiments.tune.worker", job(quiet, command), config.workers, request, "the trial that it had is done again"
    )
