"""The Endless T-Maze, its corridors of 3 to 20 cells; judged over five times as many as in training."""

from experiments.config import CoreConfig, TrainConfig
from experiments.results.common import CORRIDOR_AGENT, batched
from experiments.results.task import Evaluation, ResultsTask

TASK = ResultsTask(
    title="Endless T-Maze, uniform",
    config=TrainConfig(
        env=batched("ExpireSpan/EndlessTMaze-v0", "min_length=3", "max_length=20", "max_steps=200"),
        core=CoreConfig(dim=64, slots=32, max_span=256, ramp_length=8, seq_len=32),
        agent=CORRIDOR_AGENT,
        total_timesteps=20_000_000,
    ),
    evaluation=Evaluation(env_args=("max_steps=1000",)),
)
