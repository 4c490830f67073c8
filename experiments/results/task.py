"""What a task of the matrix is, settings and judgement in one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.config import TrainConfig


@dataclass(frozen=True)
class Evaluation:
    """The episodes that a trained agent is judged by, with fresh seeds and the likeliest actions."""

    episodes: int = 1000
    """How many; on tasks with few levels every level is played besides."""
    env_args: tuple[str, ...] = ()
    """Arguments of the environment that differ from training's, such as max_steps=1000."""
    measure: Literal["success_rate", "mean_return", "correct_turn_rate"] | None = None
    """What is judged; None for the objective of the training. correct_turn_rate is the share of right ones among all
    turns, of an environment that says them in `info`."""
    turns: int = 0
    """For correct_turn_rate: turns that an episode is to have; those missing count as wrong."""


@dataclass(frozen=True)
class ResultsTask:
    """A task with all that is fixed before the first run: sizes, learning, budget, evaluation."""

    title: str
    """A few words for tables and pictures."""
    config: TrainConfig
    """What the expiring agent is trained with; the other agents differ in the core, and in `own`."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """How it is judged."""
    objective: Literal["success_rate", "mean_return"] = "success_rate"
    """What the training is for."""
    goal: float = 0.95
    """The objective in training at which a run is said to have learned the task."""
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By agent (`agents.OWN`) the settings of core and agent that suit it better than `config`'s, by name, found before
    its runs and on other seeds than theirs."""

    @property
    def measure(self) -> str:
        """What is judged."""
        return self.evaluation.measure or self.objective

    @property
    def goal_of_measure(self) -> float | None:
        """The goal as what is judged has it: rates have the same. None where a return is judged for a rate, or a rate
        for a return."""
        one_scale = (self.measure == "mean_return") == (self.objective == "mean_return")
        return self.goal if one_scale else None
