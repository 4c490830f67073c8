"""MiniGrid's Memory task of size 65, far beyond those that it registers.

Trained on corridors of random lengths, judged on the longest.
"""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, TWO_LAYERS, batched, memory_core
from experiments.results.task import Evaluation, ResultsTask

TASK = ResultsTask(
    title="Memory of size 65",
    config=TrainConfig(
        # MiniGrid's own limit is 21,125 steps.
        env=batched("ExpireSpan/Memory-v0", "size=65", "random_length=True", "max_steps=800"),
        core=memory_core(max_span=1024),
        agent=dataclasses.replace(
            MEMORY_AGENT,
            # What the cue showed is seen as the same wherever it stands, or it may never be found to say where to go.
            pooled=True,
            # That is found late, and memories that are charged for before have lost the cue by then.
            forget_at_success=0.98,
            stats_window_size=2048,
        ),
        total_timesteps=60_000_000,
    ),
    evaluation=Evaluation(env_args=("random_length=False",)),
    own=TWO_LAYERS,
)
