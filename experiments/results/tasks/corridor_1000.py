"""The Corridor of 3 to 1,000 cells."""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import batched, corridor_agent, corridor_core, fifth_of_the_entropy, quarter_minibatches
from experiments.results.task import ResultsTask

AGENT = dataclasses.replace(corridor_agent(slots=1024, memory_budget_end=32), batch_size=4096, gamma=0.998)
TASK = ResultsTask(
    title="Corridor up to 1,000",
    config=TrainConfig(
        env=batched("ExpireSpan/Corridor-v0", "min_length=3", "max_length=1000", n_envs=256),
        core=corridor_core(slots=1024),
        agent=AGENT,
        total_timesteps=24_000_000,
    ),
    own={"lstm": fifth_of_the_entropy(AGENT), "lstm-plain": quarter_minibatches(AGENT)},
)
