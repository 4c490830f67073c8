"""The Endless T-Maze, its corridors all of 10 cells; judged on 1,000 corridors in a row, of 20."""

from experiments.config import TrainConfig
from experiments.results.common import batched, tmaze_agent, tmaze_core
from experiments.results.task import Evaluation, ResultsTask

TASK = ResultsTask(
    title="Endless T-Maze, fixed",
    config=TrainConfig(
        env=batched(
            "ExpireSpan/EndlessTMaze-v0", "length_distribution=fixed", "max_length=10", "max_steps=200", n_envs=64
        ),
        core=tmaze_core(slots=64),
        agent=tmaze_agent(slots=64),
        total_timesteps=2_000_000,
    ),
    evaluation=Evaluation(
        episodes=8, env_args=("max_length=20", "max_steps=27000"), measure="correct_turn_rate", turns=1000
    ),
)
