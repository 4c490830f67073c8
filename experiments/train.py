"""`expire-span train`."""

import shlex
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch

from agents.checkpoint import CheckpointError, folder_lock
from experiments import runs
from experiments.callbacks import Checkpoints, OurCallback, StopRequest, stop_on_signals, training_facts
from experiments.config import TrainConfig
from experiments.environments import untested_arguments
from experiments.errors import say, user_errors
from experiments.faults import ended_by, quiet_threads
from experiments.learning import learn, open_log
from experiments.session import Session, new_session, resumed_session


def run_session(session: Session, request: StopRequest, *more: OurCallback) -> dict[str, Any]:
    """Trains, saves the model and returns the summary, which it also writes to the run folder.

    Args:
        session: what to train.
        request: stops the training when it is made.
        *more: callbacks, beside those of every training.
    """
    config, model, run_dir = session.config, session.model, session.run_dir
    first = model.num_timesteps
    request.saved = False
    checkpoints = Checkpoints(run_dir, config.checkpoint_every, config.keep_checkpoints, request)
    open_log(model, run_dir)
    began = time.monotonic()
    try:
        reason = learn(model, config, request, checkpoints, *more, is_new=not session.resumed)
        seconds = time.monotonic() - began
        if reason != "signal":  # then it was saved before the step that it stopped at
            checkpoints.save()
        summary = {
            "stopped_by": reason,
            **training_facts(model, seconds),
            "steps_per_second": round((model.num_timesteps - first) / seconds, 1),
        }
        runs.write_json(run_dir / runs.SUMMARY, summary)
        return summary
    except Exception as error:
        if checkpoints.collecting:
            # What ended the training may be in the way of this, too; it is what has to be told.
            with suppress(Exception):
                checkpoints.save()
        raise ended_by(error, run_dir, model.num_timesteps, session.device) from error


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
            say(f"note: {hint}")
        command = shlex.join([*program.split(), *arguments])
        if session.resumed:
            with user_errors(OSError, prefix=f"{run_dir} can't be written: "):
                runs.note_continuation(run_dir, config, session.device, command, session.model.num_timesteps)
        else:
            held.enter_context(folder_lock(run_dir))
            with user_errors(OSError, prefix=f"--run-dir {run_dir} can't be written: "):
                runs.create(run_dir, config, session.device, command)
        with stop_on_signals() as request, quiet_threads():
            summary = run_session(session, request)
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
