"""MiniGrid-KeyCorridorS3R2, in Python's environments."""

from experiments.config import TrainConfig
from experiments.results.common import KEY_AGENT, MEMORY_CORE, key_corridor, quarter_minibatches
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="KeyCorridor S3R2",
    config=TrainConfig(
        env=key_corridor(2),
        core=MEMORY_CORE,
        agent=KEY_AGENT,
        total_timesteps=3_000_000,
    ),
    own={"lstm": quarter_minibatches(KEY_AGENT)},
)
