"""The Endless T-Maze, its corridors all of 10 cells; judged on 1,000 corridors in a row, of 20."""

import dataclasses

from experiments.config import TrainConfig
from experiments.results.common import batched, fifth_of_the_entropy, quarter_minibatches, tmaze_agent, tmaze_core
from experiments.results.task import Evaluation, ResultsTask

AGENT = dataclasses.replace(
    tmaze_agent(slots=64),
    batch_size=4096,
    # Where every turn is right, advantages are noise, and divided by their own deviation they undo what was
    # learned more often.
    min_advantage_std=0.1,
    ent_coef=0.01,
    ent_coef_end=0.001,
)
TASK = ResultsTask(
    title="Endless T-Maze, fixed",
    config=TrainConfig(
        env=batched(
            "ExpireSpan/EndlessTMaze-v0", "length_distribution=fixed", "max_length=10", "max_steps=200", n_envs=256
        ),
        # Trained on one length alone, it is judged on another, where other states are alive between two cues.
        core=dataclasses.replace(tmaze_core(slots=64), count_matches=True),
        agent=AGENT,
        total_timesteps=8_000_000,
    ),
    evaluation=Evaluation(
        episodes=8, env_args=("max_length=20", "max_steps=27000"), measure="correct_turn_rate", turns=1000
    ),
    own={"lstm": fifth_of_the_entropy(AGENT), "lstm-plain": quarter_minibatches(AGENT)},
)
