"""CartPole without velocities: a memory of a few steps is enough."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.results.task import ResultsTask

TASK = ResultsTask(
    title="CartPole without velocities",
    config=TrainConfig(
        env=EnvConfig(env_id="ExpireSpan/CartPoleNoVelocity-v0", n_envs=8),
        core=CoreConfig(dim=64, slots=32, max_span=64, ramp_length=4, seq_len=32),
        agent=AgentConfig(
            n_steps=128,
            segment_length=64,
            batch_size=256,
            n_epochs=10,
            learning_rate=7e-4,
            learning_rate_end=0.0,
            gamma=0.98,
            gae_lambda=0.98,
            ent_coef=0.0,
            # Returns are of some fifty: with more weight their errors are all that the shared core learns from.
            vf_coef=0.003,
            max_grad_norm=1.0,
        ),
        total_timesteps=150_000,
    ),
    objective="mean_return",
    # Of 500, the length of the longest episode.
    goal=475.0,
)
