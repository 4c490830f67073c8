"""MiniGrid's Memory task of size 65, far beyond those that it registers.

Trained on corridors of random lengths, judged on the longest.
"""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, batched, corridor_core
from experiments.results.task import Evaluation, ResultsTask

TASK = ResultsTask(
    title="Memory of size 65",
    config=TrainConfig(
        # MiniGrid's own limit is 21,125 steps.
        env=batched("ExpireSpan/Memory-v0", "size=65", "random_length=True", "max_steps=800"),
        # As in corridors: here the reward's gradient alone lost one of some ten seeds (`experiments/LOG.md`).
        core=dataclasses.replace(corridor_core(slots=64), max_span=1024),
        agent=dataclasses.replace(
            MEMORY_AGENT,
            # What the cue showed is seen as the same wherever it stands, or it may never be found to say where to go.
            pooled=True,
            # That is found late, and memories that are charged for before have lost the cue by then.
            forget_at_success=0.98,
            stats_window_size=2048,
            expire_loss_coef=1e-4,
        ),
        total_timesteps=60_000_000,
    ),
    evaluation=Evaluation(env_args=("random_length=False",)),
    # As all had it before the expiring memory's core was changed; with one layer and eight positions a Transformer-XL
    # was less sure of S13 (`experiments/LOG.md`).
    own={
        "transformer-xl": {"depth": 2, "seq_len": 64},
        "lstm": {"depth": 2},
        "lstm-plain": {"depth": 2},
        "none": {"depth": 2},
    },
)
