"""What every training by a configuration has, whoever learns: its log, its progress, its ends."""

import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from experiments.callbacks import EntropySchedule, OurCallback, Progress, StopAtSuccess, StopOnRequest, StopRequest
from experiments.config import TrainConfig
from experiments.errors import user_errors
from experiments.progress_log import FILE

MOST_LINES = 10_000
"""Rollouts of a training that the logs have a line of, about; of more rollouts every second, third … one."""

Reason = Literal["signal", "success", "total-timesteps"]
"""Why a training ended; "total-timesteps" also where a callback of the caller's ended it."""


def open_log(model: OnPolicyAlgorithm, run_dir: Path) -> None:
    """Lets a model log to TensorBoard and CSV in the run folder. One that goes on writes a CSV file of its own, since
    SB3's truncates.

    Raises:
        UserError: if it can't be written.
    """
    steps = model.num_timesteps
    name = f"progress-{steps:012d}.csv" if steps else FILE
    with user_errors(OSError, prefix=f"{run_dir} can't be written: "):
        formats = [CSVOutputFormat(str(run_dir / name)), TensorBoardOutputFormat(str(run_dir))]
        model.set_logger(Logger(str(run_dir), formats))


def learn(
    model: OnPolicyAlgorithm,
    config: TrainConfig,
    request: StopRequest,
    *more: OurCallback,
    is_new: bool = True,
) -> Reason:
    """Trains up to `config.total_timesteps`, and closes the model's log.

    Args:
        model: who learns, from the steps on that it has done.
        config: how long, how the entropy bonus falls, which success ends it, how progress is shown.
        request: ends the training when it is made, and all is saved.
        *more: callbacks of this training.
        is_new: whether environments and counts begin anew.
    """
    progress, goal = Progress(_style_of_progress(config), config.total_timesteps), StopAtSuccess(config.stop_at_success)
    stop = StopOnRequest(request)
    callbacks: list[OurCallback] = [progress, *more, goal, stop]
    if config.agent.ent_coef_end is not None:
        callbacks.append(EntropySchedule(config.agent.ent_coef, config.agent.ent_coef_end))
    # SB3 adds to the steps already done where it doesn't count from 0 again.
    left = config.total_timesteps - model.num_timesteps
    try:
        model.learn(
            left,
            callback=CallbackList(list(callbacks)),
            log_interval=math.ceil(left / (model.n_steps * model.n_envs) / MOST_LINES),
            reset_num_timesteps=is_new,
        )
    finally:
        progress.close()
        with suppress(OSError):  # a full disk: who writes the results next will tell of it
            model.logger.close()
    # By steps it can't be told: SB3 has counted the one that the training was stopped at.
    return "success" if goal.reached else "signal" if stop.has_stopped else "total-timesteps"


def _style_of_progress(config: TrainConfig) -> str:
    """ "bar", "lines" or "none"."""
    if config.progress != "auto":
        return config.progress
    return "bar" if sys.stderr.isatty() else "lines"
