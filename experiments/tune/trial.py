"""One trial: train an agent, let the study stop it early, and play fresh episodes with what it has learned."""

# Optuna is an extra, types can be checked without it.
# mypy: disable-error-code="import-not-found"
import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from optuna import Trial

from experiments import runs
from experiments.callbacks import OurCallback, StopRequest, mean_return, save, success_rate, training_facts
from experiments.config import TrainConfig
from experiments.environments import fresh_seeds
from experiments.errors import UserError, one_line
from experiments.evaluate import play, summarise
from experiments.learning import learn, open_log
from experiments.session import Session, make_room, new_session

REPORTS = 20
"""Times in a trial that its training success is reported to the study, at equal distances in steps."""
EVALUATION = 999
"""Seed of the episodes that a trial is judged by. All are judged by the same ones, and the best of many is the luckiest
too: `evaluate`, whose default seed is another, plays others."""
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Ending:
    """What became of a trial."""

    state: Literal["complete", "pruned", "failed", "interrupted"]
    value: float | None = None
    """Of a complete one: its objective."""
    objective: Literal["success_rate", "mean_return"] | None = None
    """Of a complete one: what `value` is."""
    reason: str | None = None
    """Why it isn't complete, on one line."""


class Reports(OurCallback):
    """Tells the study of the training success (the return, where the environment knows no success), and ends the
    training when the study prunes the trial.

    Args:
        trial: of the study.
        total: environment steps of the training.
    """

    def __init__(self, trial: Trial, total: int) -> None:
        super().__init__()
        self._trial, self._every, self._told = trial, total / REPORTS, 0
        self.pruned = False

    def _on_rollout_start(self) -> None:
        # Between two rollouts; a rollout may pass several of the distances, and then counts for each of them, so that
        # trials of other rollouts can be compared.
        passed = int(self.model.num_timesteps / self._every)
        if passed > self._told:
            self._report(passed)
            self.pruned = self._trial.should_prune()

    def _on_step(self) -> bool:
        return not self.pruned

    def complete(self) -> None:
        """Reports what is left: a training that has reached its goal early would have stayed there."""
        self._report(REPORTS)

    def _report(self, last: int) -> None:
        success = success_rate(self.model)
        score = mean_return(self.model) if success is None else success
        if score is not None:
            for number in range(self._told + 1, last + 1):
                self._trial.report(score, number)
        self._told = last


def run_trial(trial: Trial, config: TrainConfig, episodes: int, request: StopRequest, command: str) -> Ending:
    """Runs a trial; leaves a run folder.

    Args:
        trial: of the study, told of the training success.
        config: all settings, `run_dir` among them.
        episodes: to judge it by.
        request: ends the training when it is made.
        command: for the run folder's record.
    """
    torch.set_num_threads(config.torch_threads)
    try:
        return _run(trial, config, episodes, request, command)
    except Exception as error:
        # Whatever it is: the other trials go on.
        told = isinstance(error, UserError | FloatingPointError)
        reason = str(error) if told else f"{type(error).__name__}: {one_line(error)}"
        return Ending("failed", reason=reason[:_LONGEST_REASON])
    finally:
        make_room()


def _run(trial: Trial, config: TrainConfig, episodes: int, request: StopRequest, command: str) -> Ending:
    session = new_session(config)
    try:
        runs.create(session.run_dir, session.config, session.device, command)
        began = time.monotonic()
        ending = _train(session, trial, request)
        facts: dict[str, Any] = {
            "stopped_by": ending.state,
            **training_facts(session.model, time.monotonic() - began),
        }
    finally:
        session.vec_env.close()
    if ending.state == "complete":
        facts["evaluation"] = summarise(play(session.model, config.env, fresh_seeds(EVALUATION, episodes)), None)
        ending = _judged(facts["evaluation"])
    runs.write_json(session.run_dir / runs.SUMMARY, facts)
    return ending


def _train(session: Session, trial: Trial, request: StopRequest) -> Ending:
    """Trains and saves the model; a complete ending has no value yet."""
    config, model = session.config, session.model
    reports = Reports(trial, config.total_timesteps)
    open_log(model, session.run_dir)
    reason = learn(model, config, request, reports)
    save(model, session.run_dir)
    if reports.pruned:
        return Ending("pruned", reason=f"pruned after {model.num_timesteps:,} steps")
    if reason == "signal":
        return Ending("interrupted", reason=f"interrupted after {model.num_timesteps:,} steps")
    reports.complete()
    return Ending("complete")


def _judged(evaluation: dict[str, Any]) -> Ending:
    """The ending by what the episodes came to."""
    objective: Literal["success_rate", "mean_return"] = "success_rate"
    if evaluation[objective] is None:
        objective = "mean_return"
    value = float(evaluation[objective])
    if not math.isfinite(value):
        return Ending("failed", reason=f"the {objective.replace('_', ' ')} of its episodes is {value}")
    return Ending("complete", value, objective)
