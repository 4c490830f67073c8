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

MOST_LINES = 10_000
"""Rollouts of a training that the logs have a line of, about; of more rollouts every second, third … one."""

Reason = Literal["signal", "success", "total-timesteps"]
"""Why a training ended."""


def learn(
    model: OnPolicyAlgorithm,
    config: TrainConfig,
    run_dir: Path,
    request: StopRequest,
    *more: OurCallback,
    is_new: bool = True,
) -> Reason:
    """Trains up to `config.total_timesteps`, with a log in the run folder.

    Args:
        model: who learns, from the steps on that it has done.
        config: how long, how the entropy bonus falls, which success ends it, how progress is shown.
        run_dir: the run folder.
        request: ends the training when it is made, and all is saved.
        *more: callbacks of this training.
        is_new: whether environments and counts begin anew.

    Raises:
        UserError: if the run folder can't be written.
    """
    first = model.num_timesteps
    progress, goal = Progress(_style_of_progress(config), config.total_timesteps), StopAtSuccess(config.stop_at_success)
    callbacks: list[OurCallback] = [progress, *more, goal, StopOnRequest(request)]
    if config.agent.ent_coef_end is not None:
        callbacks.append(EntropySchedule(config.agent.ent_coef, config.agent.ent_coef_end))
    with user_errors(OSError, prefix=f"{run_dir} can't be written: "):
        model.set_logger(_logger_for(run_dir, first))
    # SB3 adds to the steps already done where it doesn't count from 0 again.
    left = config.total_timesteps - first
    try:
        model.learn(
            left,
            callback=CallbackList(list(callbacks)),
            log_interval=math.ceil(left / (model.n_steps * model.n_envs) / MOST_LINES),
            reset_num_timesteps=is_new,
        )
    finally:
        progress.close()
        with suppress(OSError):  # a full disk, which has been told of
            model.logger.close()
    if goal.reached:
        return "success"
    return "signal" if request.signal and model.num_timesteps < config.total_timesteps else "total-timesteps"


def _logger_for(run_dir: Path, timesteps: int) -> Logger:
    """TensorBoard and CSV in the run folder; a continued run writes a CSV file of its own, since SB3's truncates."""
    name = f"progress-{timesteps:012d}.csv" if timesteps else "progress.csv"
    return Logger(str(run_dir), [CSVOutputFormat(str(run_dir / name)), TensorBoardOutputFormat(str(run_dir))])


def _style_of_progress(config: TrainConfig) -> str:
    """ "bar", "lines" or "none"."""
    if config.progress != "auto":
        return config.progress
    return "bar" if sys.stderr.isatty() else "lines"
