"""MiniGrid-KeyCorridorS3R1, in Python's environments."""

from experiments.config import TrainConfig
from experiments.results.common import KEY_AGENT, MEMORY_CORE, key_corridor, quarter_minibatches
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="KeyCorridor S3R1",
    config=TrainConfig(
        env=key_corridor(1),
        core=MEMORY_CORE,
        agent=KEY_AGENT,
        total_timesteps=1_000_000,
    ),
    own={"lstm": quarter_minibatches(KEY_AGENT)},
)
