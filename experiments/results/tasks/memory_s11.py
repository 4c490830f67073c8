"""MiniGrid-MemoryS11."""

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, MEMORY_CORE, batched
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="Memory S11",
    config=TrainConfig(
        env=batched("MiniGrid-MemoryS11-v0"),
        core=MEMORY_CORE,
        agent=MEMORY_AGENT,
        total_timesteps=16_000_000,
    ),
)
