"""MiniGrid-MemoryS9 with a view of 3 cells: with the default view there are places that show cue and target at once."""

from experiments.config import TrainConfig
from experiments.results.common import MEMORY_AGENT, MEMORY_CORE, batched
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="Memory S9, view 3",
    config=TrainConfig(
        env=batched("MiniGrid-MemoryS9-v0", "agent_view_size=3"),
        core=MEMORY_CORE,
        agent=MEMORY_AGENT,
        total_timesteps=6_000_000,
    ),
)
