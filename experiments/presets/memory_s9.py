"""MiniGrid-MemoryS9 with a view of three cells."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.presets import Preset

PRESET = Preset(
    title="MiniGrid-MemoryS9, view of 3",
    demands="look for the object in the room, and keep it until the fork at the corridor's end, some 10 steps later",
    config=TrainConfig(
        env=EnvConfig(env_id="MiniGrid-MemoryS9-v0", env_args=("agent_view_size=3",), n_envs=64),
        core=CoreConfig(dim=64, slots=32, max_span=128, ramp_length=8, seq_len=32),
        agent=AgentConfig(
            n_steps=64,
            segment_length=32,
            batch_size=512,
            learning_rate=8e-4,
            learning_rate_end=0.0,
            # A sure way to a target is half right, and an agent that is soon content with it never looks back.
            gamma=0.997,
            # The outcome, a coin's fall for long, disturbs the values of no more than the last few steps.
            gae_lambda=0.8,
            pooled=True,
            ent_coef=0.04,
            ent_coef_end=0.002,
        ),
        total_timesteps=1_200_000,
    ),
)
