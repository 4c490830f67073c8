"""The Endless T-Maze, its corridors of 3 to 20 cells; judged on 1,000 corridors in a row, of 3 to 40."""

from experiments.config import TrainConfig
from experiments.results.common import batched, fifth_of_the_entropy, quarter_minibatches, tmaze_agent, tmaze_core
from experiments.results.task import Evaluation, ResultsTask

AGENT = tmaze_agent(slots=64)
TASK = ResultsTask(
    title="Endless T-Maze, uniform",
    config=TrainConfig(
        env=batched("ExpireSpan/EndlessTMaze-v0", "min_length=3", "max_length=20", "max_steps=200", n_envs=64),
        core=tmaze_core(slots=64),
        agent=AGENT,
        total_timesteps=2_000_000,
    ),
    evaluation=Evaluation(
        episodes=8, env_args=("max_length=40", "max_steps=28000"), measure="correct_turn_rate", turns=1000
    ),
    own={
        "lstm": fifth_of_the_entropy(AGENT),
        "lstm-plain": quarter_minibatches(AGENT),
        # Of its many cues it tells by the count of matches which is the newest.
        "transformer-xl": {"count_matches": True, **quarter_minibatches(AGENT)},
    },
)
