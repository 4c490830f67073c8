"""The Corridor of 3 to 200 cells."""

from experiments.config import TrainConfig
from experiments.results.common import batched, corridor_agent, corridor_core, fifth_of_the_entropy, quarter_minibatches
from experiments.results.task import ResultsTask

AGENT = corridor_agent(slots=256, memory_budget_end=8)
TASK = ResultsTask(
    title="Corridor up to 200",
    config=TrainConfig(
        env=batched("ExpireSpan/Corridor-v0", "min_length=3", "max_length=200", n_envs=512),
        core=corridor_core(slots=256),
        agent=AGENT,
        total_timesteps=10_000_000,
    ),
    own={"lstm": fifth_of_the_entropy(AGENT), "lstm-plain": quarter_minibatches(AGENT)},
)
