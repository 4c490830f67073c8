"""MiniGrid-MemoryS13 with the default view."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.presets import Preset

PRESET = Preset(
    title="MiniGrid-MemoryS13, default view",
    demands="look back at the object first, then keep it over the corridor; rushing to a target is half right",
    config=TrainConfig(
        env=EnvConfig(env_id="MiniGrid-MemoryS13-v0", n_envs=128),
        core=CoreConfig(dim=64, slots=64, max_span=128, ramp_length=8, ramp_power=8),
        agent=AgentConfig(
            n_steps=64,
            segment_length=64,
            batch_size=1024,
            learning_rate=5e-4,
            learning_rate_end=2e-4,
            gamma=0.998,
            # As in `memory_s9.py`: the outcome, a coin's fall for long, disturbs the values of a few steps alone.
            gae_lambda=0.8,
            pooled=True,
            ent_coef=0.05,
            ent_coef_end=0.002,
            # Long enough free of charge to find out what a memory is good for; then only what is needed.
            memory_budget_end=6.0,
            expire_loss_coef=4e-5,
        ),
        total_timesteps=1_000_000,
    ),
)
