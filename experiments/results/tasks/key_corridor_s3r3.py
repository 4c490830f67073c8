"""MiniGrid-KeyCorridorS3R3, in Python's environments."""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import KEY_AGENT, MEMORY_CORE, key_corridor, quarter_minibatches
from experiments.results.task import ResultsTask

# By chance two episodes in a thousand succeed. With the others' entropy coefficient the policy stays uniform.
AGENT = dataclasses.replace(KEY_AGENT, ent_coef=0.001, ent_coef_end=0.0003)
TASK = ResultsTask(
    title="KeyCorridor S3R3",
    config=TrainConfig(
        env=key_corridor(3),
        core=MEMORY_CORE,
        agent=AGENT,
        total_timesteps=8_000_000,
    ),
    own={"lstm": quarter_minibatches(AGENT)},
)
