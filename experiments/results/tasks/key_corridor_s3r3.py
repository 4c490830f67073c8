"""MiniGrid-KeyCorridorS3R3, in Python's environments."""

from experiments.config import TrainConfig
from experiments.results.common import KEY_AGENT, MEMORY_CORE, key_corridor
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="KeyCorridor S3R3",
    config=TrainConfig(
        env=key_corridor(3),
        core=MEMORY_CORE,
        agent=KEY_AGENT,
        total_timesteps=8_000_000,
    ),
)
