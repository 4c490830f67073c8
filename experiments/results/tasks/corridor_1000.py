"""The Corridor of 3 to 1,000 cells, with 64 slots."""

import dataclasses

from experiments.config import CoreConfig, TrainConfig
from experiments.results.common import CORRIDOR_AGENT, batched
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="Corridor up to 1,000",
    config=TrainConfig(
        env=batched("ExpireSpan/Corridor-v0", "min_length=3", "max_length=1000"),
        core=CoreConfig(dim=64, slots=64, max_span=2048, ramp_length=16, seq_len=32),
        agent=dataclasses.replace(CORRIDOR_AGENT, gamma=0.999),
        total_timesteps=60_000_000,
    ),
)
