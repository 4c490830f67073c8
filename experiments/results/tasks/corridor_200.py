"""The Corridor of 3 to 200 cells, with 32 slots."""

from experiments.config import CoreConfig, TrainConfig
from experiments.results.common import CORRIDOR_AGENT, batched
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="Corridor up to 200",
    config=TrainConfig(
        env=batched("ExpireSpan/Corridor-v0", "min_length=3", "max_length=200"),
        core=CoreConfig(dim=64, slots=32, max_span=512, ramp_length=16, seq_len=32),
        agent=CORRIDOR_AGENT,
        total_timesteps=20_000_000,
    ),
)
