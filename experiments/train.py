"""`expire-span train`."""

import dataclasses
import gc
import inspect
import math
import shlex
import signal
import sys
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents import ExpireSpanPPO, MiniGridExtractor
from agents.checkpoint import CheckpointError, CheckpointSeries, folder_lock
from agents.extractors import is_minigrid_codes
from envs.faults import EnvironmentFault
from experiments import runs
from experiments.arguments import parse_pairs
from experiments.callbacks import (
    Checkpoints,
    EntropySchedule,
    OurCallback,
    Progress,
    StopAtSuccess,
    StopOnRequest,
    StopRequest,
    mean_return,
    stop_on_signals,
    success_rate,
)
from experiments.config import AgentConfig, CoreConfig, TrainConfig, values
from experiments.environments import training_envs, untested_arguments
from experiments.errors import UserError, one_line, user_errors
from experiments.faults import ended_by, is_out_of_memory, quiet_threads, told_of_memory

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

BUDGET_FALLS = 0.5
"""Share of a training over which the memory budget falls; the rest is for the spans to follow."""
MAY_CHANGE = {
    *("total_timesteps", "stop_at_success", "device", "torch_threads", "checkpoint_every", "keep_checkpoints"),
    *("progress", "resume", "run_dir", "overwrite", "env.vec_env", "env.n_workers", "env.env_timeout"),
}
"""Settings that may differ when a run is gone on with; the others made the model what it is."""

MOST_LINES = 10_000
"""Rollouts of a training that the logs have a line of, about; of more rollouts every second, third … one."""

# What a wrong setting makes Stable-Baselines3 and our library raise while a model is built.
_WRONG_SETTING = (ValueError, AssertionError, TypeError, RuntimeError)


def policy_name(agent: AgentConfig, observations: spaces.Space[Any]) -> str:
    """The policy by SB3's name: as set, or chosen by the observations."""
    if agent.policy != "auto":
        return agent.policy
    if isinstance(observations, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(observations) else "MlpPolicy"


def embeds_codes(agent: AgentConfig, observations: spaces.Space[Any]) -> bool:
    """Whether observations are MiniGrid's codes, and read as such."""
    return agent.extractor != "default" and is_minigrid_codes(observations)


def policy_kwargs(core: CoreConfig, agent: AgentConfig, observations: spaces.Space[Any]) -> dict[str, Any]:
    """The policy's keyword arguments."""
    kwargs: dict[str, Any] = core.arguments()
    if agent.net_arch is not None:
        kwargs["net_arch"] = list(agent.net_arch)
    if agent.activation_fn is not None:
        kwargs["activation_fn"] = ACTIVATIONS[agent.activation_fn]
    # "auto" is the policy's own choice; "default" differs from it for MiniGrid's codes alone.
    if agent.extractor == "minigrid":
        kwargs["features_extractor_class"] = MiniGridExtractor
    elif agent.extractor == "default" and policy_name(agent, observations) == "MlpPolicy":
        kwargs["features_extractor_class"] = FlattenExtractor
    kwargs |= parse_pairs(agent.policy_args, "--policy-args")
    if agent.pooled and embeds_codes(agent, observations):
        kwargs["features_extractor_kwargs"] = {"pooled": True} | kwargs.get("features_extractor_kwargs", {})
    return kwargs


def learning_arguments(agent: AgentConfig, algorithm: type[BaseAlgorithm]) -> dict[str, Any]:
    """What is set of learning, as far as an algorithm has it, as its keyword arguments."""
    known = inspect.signature(algorithm).parameters.keys() - {"policy"}
    arguments = {name: value for name, value in values(agent).items() if name in known}
    if agent.learning_rate_end is not None:
        arguments["learning_rate"] = LinearSchedule(agent.learning_rate, agent.learning_rate_end, 1.0)
    return arguments


def build_model(config: TrainConfig, vec_env: VecEnv, device: torch.device) -> ExpireSpanPPO:
    """A new agent.

    Raises:
        UserError: for settings that don't fit, or that the policy doesn't have.
    """
    agent = config.agent
    arguments = learning_arguments(agent, ExpireSpanPPO)
    if agent.memory_budget_end is not None:
        start = float(config.core.slots) if agent.memory_budget is None else agent.memory_budget
        arguments["memory_budget"] = LinearSchedule(start, agent.memory_budget_end, BUDGET_FALLS)
    observations = vec_env.observation_space
    try:
        return ExpireSpanPPO(
            policy_name(agent, observations),
            vec_env,
            policy_kwargs=policy_kwargs(config.core, agent, observations),
            seed=config.seed,
            device=device,
            **arguments,
        )
    except (*_WRONG_SETTING, MemoryError) as error:
        raise UserError(told_of_memory(error, device) if is_out_of_memory(error) else one_line(error)) from error


@dataclass
class Session:
    """A training about to begin: everything is checked, nothing is written yet."""

    config: TrainConfig
    run_dir: Path
    device: torch.device
    model: ExpireSpanPPO
    vec_env: VecEnv
    resumed: bool = False


def default_run_dir(config: TrainConfig) -> str:
    """`runs/corridor-seed0` for a preset, `runs/MiniGrid-MemoryS9-v0-seed0` without one."""
    name = config.preset or config.env.env_id.rpartition(":")[2].replace("/", "-")
    return f"runs/{name}-seed{config.seed}"


def _envs(config: TrainConfig, device: torch.device) -> VecEnv:
    """The environments. Raises a `UserError` whatever is wrong with them: they are the user's."""
    try:
        return training_envs(config.env, config.seed, device)
    except UserError:
        raise
    except Exception as error:
        told = one_line(error)
        if not isinstance(error, EnvironmentFault):
            where = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__}: {told} ({where.filename}, line {where.lineno})"
        raise UserError(f"{config.env.env_id} can't be made: {told}") from error


def new_session(config: TrainConfig) -> Session:
    """A training from scratch. Raises a `UserError` for anything that can't be."""
    run_dir = Path(config.run_dir or default_run_dir(config))
    runs.prepare(run_dir, config.overwrite)
    device = runs.check_device(config.device)
    vec_env = _envs(config, device)
    try:
        model = build_model(config, vec_env, device)
    except BaseException:
        vec_env.close()
        raise
    return Session(dataclasses.replace(config, run_dir=str(run_dir)), run_dir, device, model, vec_env)


def changed_settings(before: TrainConfig, now: TrainConfig) -> list[str]:
    """Flags of the settings that differ and may not."""

    def flat(config: TrainConfig) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in dataclasses.asdict(config).items():
            if isinstance(value, dict):
                values |= {f"{name}.{part}": inner for part, inner in value.items()}
            else:
                values[name] = value
        return values

    old, new = flat(before), flat(now)
    return [name for name in old if old[name] != new[name] and name not in MAY_CHANGE]


def resumed_session(config: TrainConfig) -> Session:
    """A training that goes on from a run's newest whole checkpoint. Raises a `UserError` where that can't be."""
    run_dir = Path(config.resume or "")
    if config.run_dir is not None or config.overwrite:
        raise UserError("--resume goes on in the run's own folder: leave out --run-dir and --overwrite")
    before = runs.read_config(run_dir)
    runs.check_is_ours(run_dir)
    for name in changed_settings(before, config):
        flag = name.rpartition(".")[2].replace("_", "-").replace("env-id", "env")
        raise UserError(f"--{flag} can't change when going on with {run_dir}: leave it out, or train anew")
    device = runs.check_device(config.device)
    checkpoints = CheckpointSeries(run_dir / runs.CHECKPOINTS)
    if not checkpoints.steps():
        raise UserError(
            f"{run_dir} has no checkpoint yet: its training was stopped before the first; begin anew with --run-dir "
            f"{run_dir} --overwrite"
        )
    with user_errors(CheckpointError):
        newest = checkpoints.newest()
    for reason in newest.skipped:
        print(f"expire-span: note: a newer checkpoint is passed over: {reason}", file=sys.stderr)
    if newest.step >= config.total_timesteps:
        raise UserError(f"{run_dir} has done {newest.step} steps already: give --total-timesteps above that")
    vec_env = _envs(config, device)
    try:
        with user_errors(ValueError, prefix=f"{newest.path}: "):
            model, note = ExpireSpanPPO.resume(newest.tree, vec_env, device)
            checkpoints.discard_after(newest.step)
    except BaseException:
        vec_env.close()
        raise
    if note is not None:
        print(f"expire-span: note: {note}", file=sys.stderr)
    config = dataclasses.replace(config, run_dir=str(run_dir), resume=None, overwrite=False)
    return Session(config, run_dir, device, model, vec_env, resumed=True)


def logger_for(run_dir: Path, timesteps: int) -> Logger:
    """TensorBoard and CSV in the run folder; a continued run writes a CSV file of its own, since SB3's truncates."""
    name = f"progress-{timesteps:012d}.csv" if timesteps else "progress.csv"
    return Logger(str(run_dir), [CSVOutputFormat(str(run_dir / name)), TensorBoardOutputFormat(str(run_dir))])


def style_of_progress(config: TrainConfig) -> str:
    """ "bar", "lines" or "none"."""
    if config.progress != "auto":
        return config.progress
    return "bar" if sys.stderr.isatty() else "lines"


def learn(session: Session, request: StopRequest, *more: OurCallback) -> dict[str, Any]:
    """Trains, saves the model and returns the summary, which it also writes to the run folder.

    Args:
        session: what to train.
        request: stops the training when it is made.
        *more: callbacks, beside those of every training.
    """
    config, model, run_dir = session.config, session.model, session.run_dir
    first, left = model.num_timesteps, config.total_timesteps - model.num_timesteps
    progress = Progress(style_of_progress(config), config.total_timesteps)
    goal = StopAtSuccess(config.stop_at_success)
    request.saved = False
    checkpoints = Checkpoints(run_dir, config.checkpoint_every, config.keep_checkpoints, request)
    callbacks: list[OurCallback] = [progress, checkpoints, goal, StopOnRequest(request), *more]
    if config.agent.ent_coef_end is not None:
        callbacks.append(EntropySchedule(config.agent.ent_coef, config.agent.ent_coef_end))
    with user_errors(OSError, prefix=f"{run_dir} can't be written: "):
        model.set_logger(logger_for(run_dir, first))
    began = time.monotonic()
    try:
        # SB3 adds to the steps already done where it doesn't count from 0 again.
        model.learn(
            left,
            callback=CallbackList(list(callbacks)),
            log_interval=math.ceil(left / (model.n_steps * model.n_envs) / MOST_LINES),
            reset_num_timesteps=not session.resumed,
        )
        seconds = time.monotonic() - began
        done = model.num_timesteps >= config.total_timesteps
        reason = "signal" if request.signal and not done else "success" if goal.reached else "total-timesteps"
        if reason != "signal":  # then it was saved before the step that it stopped at
            checkpoints.save()
        summary = {
            "stopped_by": reason,
            "timesteps": model.num_timesteps,
            "seconds": round(seconds, 1),
            "steps_per_second": round((model.num_timesteps - first) / seconds, 1),
            "training_success_rate": success_rate(model),
            "training_mean_return": mean_return(model),
            "live_memories": model.memory_statistics.get("live_memories"),
        }
        runs.write_json(run_dir / runs.SUMMARY, summary)
        return summary
    except Exception as error:
        if checkpoints.collecting:
            # What ended the training may be in the way of this, too; it is what has to be told.
            with suppress(Exception):
                checkpoints.save()
        raise ended_by(error, run_dir, model.num_timesteps, session.device) from error
    finally:
        progress.close()
        with suppress(OSError):  # a full disk, which has been told of
            model.logger.close()


def make_room(config: TrainConfig) -> None:
    """Lets go of what an ended training holds on a device, in objects that refer to each other in circles."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def train(config: TrainConfig, program: str, arguments: list[str]) -> int:
    """Runs `expire-span train`.

    Args:
        config: the settings, presets and tasks already resolved.
        program: how this program was called, for the hint how to go on.
        arguments: its arguments, for the record.

    Returns:
        The exit status: 0, or 128 plus the signal that stopped it.

    Raises:
        UserError: for settings that can't be, before anything is written.
    """
    config.check()
    torch.set_num_threads(config.torch_threads)
    with ExitStack() as held, user_errors(CheckpointError):
        if config.resume and Path(config.resume).is_dir():
            held.enter_context(folder_lock(config.resume))
        session = resumed_session(config) if config.resume else new_session(config)
        held.callback(session.vec_env.close)
        config, run_dir = session.config, session.run_dir
        hint = untested_arguments(config.env)
        if hint:
            print(f"expire-span: note: {hint}", file=sys.stderr)
        command = shlex.join([*program.split(), *arguments])
        if session.resumed:
            with user_errors(OSError, prefix=f"{run_dir} can't be written: "):
                runs.note_continuation(run_dir, config, session.device, command, session.model.num_timesteps)
        else:
            held.enter_context(folder_lock(run_dir))
            with user_errors(OSError, prefix=f"--run-dir {run_dir} can't be written: "):
                runs.create(run_dir, config, session.device, command)
        with stop_on_signals() as request, quiet_threads():
            summary = learn(session, request)
    print(f"{run_dir}: {_sentence(summary, config)}")
    if request.signal is None or summary["stopped_by"] != "signal":
        return 0
    go_on = ["train", "--resume", str(run_dir), "--total-timesteps", str(config.total_timesteps)]
    name = signal.Signals(request.signal).name
    print(f"stopped by {name}; the training is saved. To go on: {program} {shlex.join(go_on)}")
    return 128 + request.signal


def _sentence(summary: dict[str, Any], config: TrainConfig) -> str:
    parts = [
        f"{summary['timesteps']:,} steps",
        f"{summary['seconds']:,.0f} s",
        f"{summary['steps_per_second']:,.0f} steps/s",
    ]
    if summary["training_success_rate"] is not None:
        parts.append(f"success {summary['training_success_rate']:.3f} in training")
    elif summary["training_mean_return"] is not None:
        parts.append(f"return {summary['training_mean_return']:.3g} in training")
    if summary["live_memories"] is not None:
        parts.append(f"{summary['live_memories']:.1f} live memories a step")
    if summary["stopped_by"] == "success":
        window = config.agent.stats_window_size
        parts.append(f"stopped early: {config.stop_at_success} of the last {window} episodes reached")
    return ", ".join(parts)
