"""MiniGrid-MemoryS13Random with a view of 3 cells."""

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, MEMORY_CORE, batched
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="Memory S13Random, view 3",
    config=TrainConfig(
        env=batched("MiniGrid-MemoryS13Random-v0", "agent_view_size=3"),
        core=MEMORY_CORE,
        agent=MEMORY_AGENT,
        total_timesteps=12_000_000,
    ),
)
