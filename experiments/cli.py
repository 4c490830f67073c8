"""The command line: `expire-span train | evaluate | record | curves | tasks | bench | tune | results`."""

import dataclasses
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import subcommand

from experiments import preset_file, presets
from experiments.arguments import merged
from experiments.config import (
    BenchConfig,
    CurvesConfig,
    EvaluateConfig,
    RecordConfig,
    ResultsConfig,
    TasksConfig,
    TrainConfig,
    TuneConfig,
)
from experiments.errors import PROGRAM, UserError, print_warning, say
from experiments.whole_numbers import REGISTRY

Command = (
    TrainConfig | EvaluateConfig | RecordConfig | CurvesConfig | TasksConfig | BenchConfig | TuneConfig | ResultsConfig
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status: 0, 1 if a training, a row of `bench` or a run of `results` failed
    or no trial of `tune` ended well, 2 after a mistake of the user, 128 + N after signal N.

    Args:
        arguments: of the command line; None for `sys.argv`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    show_warning = warnings.showwarning
    warnings.showwarning = print_warning
    try:
        if words == ["--version"]:
            from expire_span import __version__

            print(PROGRAM, __version__)
            return 0
        return _run(parse(words), words)
    except UserError as error:
        say(f"error: {error}")
        return error.status
    except BrokenPipeError:
        # Whoever read our output has read enough. What Python still wants to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        warnings.showwarning = show_warning


def parse(words: list[str]) -> Command:
    """The command and its settings, a preset or the run to go on with already in them.

    Raises:
        UserError: for an unknown preset, or a preset's file or a run that can't be read.
        SystemExit: for what tyro can't parse (status 2), and after --help (status 0).
    """
    base = TrainConfig()
    if words and words[0] == "train":
        base = _base(_value_of(words, "--preset"), _value_of(words, "--resume"))
    elif words and words[0] == "tune":
        base = _base(_value_of(words, "--preset"), None)
    commands = (
        Annotated[TrainConfig, subcommand("train", default=base)]
        | Annotated[EvaluateConfig, subcommand("evaluate")]
        | Annotated[RecordConfig, subcommand("record")]
        | Annotated[CurvesConfig, subcommand("curves")]
        | Annotated[TasksConfig, subcommand("tasks")]
        | Annotated[BenchConfig, subcommand("bench")]
        | Annotated[TuneConfig, subcommand("tune", default=TuneConfig(study=tyro.MISSING, train=base))]
        | Annotated[ResultsConfig, subcommand("results")]
    )
    command: Command = tyro.cli(
        commands,
        prog=PROGRAM,
        description="Train, evaluate and record an agent whose memory expires; --version says which this is.",
        args=words,
        config=(tyro.conf.OmitArgPrefixes,),
        registry=REGISTRY,
    )
    if isinstance(command, TrainConfig):
        command = _with_base(command, base, words)
    elif isinstance(command, TuneConfig):
        command = dataclasses.replace(command, train=_with_base(command.train, base, words))
    return command


def _base(preset: str | None, resume: str | None) -> TrainConfig:
    """What holds unless the command line says something else."""
    if preset is not None and resume is not None:
        raise UserError("--preset and --resume exclude each other: a run goes on with its own settings")
    if resume is not None:
        # Reading a run loads PyTorch, which `--help` and `tasks` can do without.
        from experiments.runs import read_config

        return dataclasses.replace(read_config(Path(resume)), run_dir=None, overwrite=False)
    if preset is None:
        return TrainConfig()
    is_file = preset_file.is_file_name(preset)
    config = preset_file.read(Path(preset)) if is_file else presets.load(preset).config
    return dataclasses.replace(config, preset=preset)


def _with_base(config: TrainConfig, base: TrainConfig, words: Sequence[str]) -> TrainConfig:
    """The arguments given are added to the preset's, if it's still the preset's environment; a file has a name too."""
    if config.resume is not None:
        return config
    if config.preset is not None and preset_file.is_file_name(config.preset):
        # Runs are named after it; the command, which a run's record has, says where it lies.
        config = dataclasses.replace(config, preset=Path(config.preset).stem)
    env_args = config.env.env_args
    if config.env.env_id == base.env.env_id:
        env_args = merged(base.env.env_args, env_args, "--env-args")
    elif _value_of(words, "--env-args") is None:
        env_args = ()  # a preset's arguments are its environment's
    return dataclasses.replace(config, env=dataclasses.replace(config.env, env_args=env_args))


def _value_of(words: Sequence[str], flag: str) -> str | None:
    """The value of a flag, before anything is parsed: `--flag VALUE` or `--flag=VALUE`; the last one counts."""
    value = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        name, equals, its = word.partition("=")
        if name.replace("_", "-") == flag:
            value = its if equals else following
    return value


def _run(command: Command, words: list[str]) -> int:
    # Imported here, since PyTorch and its friends take seconds that --help needn't.
    match command:
        case TrainConfig():
            from experiments.train import train

            if all(_value_of(words, flag) is None for flag in ("--preset", "--env", "--resume")):
                say(
                    f"note: neither --preset nor --env: {command.env.env_id} with settings that aren't made for it; "
                    f"`{PROGRAM} tasks` lists presets, which are known to work"
                )
            return train(command, _program(), words)
        case EvaluateConfig():
            from experiments.evaluate import evaluate

            return evaluate(command)
        case RecordConfig():
            from experiments.record import record

            return record(command)
        case CurvesConfig():
            from experiments.curves import curves

            return curves(command)
        case TasksConfig():
            from experiments.tasks import tasks

            return tasks(command)
        case BenchConfig():
            from experiments.bench.command import bench

            return bench(command)
        case TuneConfig():
            from experiments.tune.command import tune

            return tune(command, _program(), words)
        case ResultsConfig():
            from experiments.results.command import results

            return results(command, _program(), words)


def _program() -> str:
    """How this program was called: the console script, or the module."""
    return "python -m experiments" if Path(sys.argv[0]).name == "__main__.py" else PROGRAM
