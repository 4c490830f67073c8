"""The Endless T-Maze, its corridors all of 10 cells; judged on 1,000 corridors in a row, of 20."""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import batched, corridor_agent, corridor_core
from experiments.results.task import Evaluation, ResultsTask

TASK = ResultsTask(
    title="Endless T-Maze, fixed",
    config=TrainConfig(
        env=batched(
            "ExpireSpan/EndlessTMaze-v0", "length_distribution=fixed", "max_length=10", "max_steps=200", n_envs=512
        ),
        # Several cues are alive at once, and the newest counts.
        core=dataclasses.replace(corridor_core(slots=64, ramp_length=8), log_position=True),
        agent=dataclasses.replace(corridor_agent(slots=64, memory_budget_end=16), expire_loss_coef=1e-4),
        total_timesteps=10_000_000,
    ),
    evaluation=Evaluation(episodes=8, env_args=("max_length=20", "max_steps=23000"), measure="correct_turn_rate"),
)
