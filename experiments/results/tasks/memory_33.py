"""MiniGrid's Memory task of size 33, far beyond those that it registers.

Trained on corridors of random lengths, judged on the longest.
"""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, MEMORY_CORE, batched
from experiments.results.task import Evaluation, ResultsTask

TASK = ResultsTask(
    title="Memory of size 33",
    config=TrainConfig(
        # MiniGrid's own limit is 5,445 steps.
        env=batched("ExpireSpan/Memory-v0", "size=33", "random_length=True", "max_steps=400"),
        core=dataclasses.replace(MEMORY_CORE, max_span=512),
        agent=MEMORY_AGENT,
        total_timesteps=60_000_000,
    ),
    evaluation=Evaluation(env_args=("random_length=False",)),
)
