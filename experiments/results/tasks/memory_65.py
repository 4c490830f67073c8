"""MiniGrid's Memory task of size 65, far beyond those that it registers.

Trained on corridors of random lengths, judged on the longest.
"""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, MEMORY_CORE, batched
from experiments.results.task import Evaluation, ResultsTask

TASK = ResultsTask(
    title="Memory of size 65",
    config=TrainConfig(
        # MiniGrid's own limit is 21,125 steps.
        env=batched("ExpireSpan/Memory-v0", "size=65", "random_length=True", "max_steps=800"),
        core=dataclasses.replace(MEMORY_CORE, max_span=1024),
        agent=MEMORY_AGENT,
        total_timesteps=120_000_000,
    ),
    evaluation=Evaluation(env_args=("random_length=False",)),
)
