"""MiniGrid-MemoryS13."""

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, MEMORY_CORE, batched
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="Memory S13",
    config=TrainConfig(
        env=batched("MiniGrid-MemoryS13-v0"),
        core=MEMORY_CORE,
        agent=MEMORY_AGENT,
        total_timesteps=30_000_000,
    ),
)
