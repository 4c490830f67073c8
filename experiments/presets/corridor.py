"""The Corridor of 3 to 100 cells, with 32 slots."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.presets import Preset

PRESET = Preset(
    title="Corridor of 3 to 100 cells, 32 slots",
    demands="keep one colour over a walk far longer than the slots, and forget the walk",
    config=TrainConfig(
        env=EnvConfig(env_id="ExpireSpan/Corridor-v0", env_args=("min_length=3", "max_length=100"), n_envs=64),
        core=CoreConfig(dim=64, slots=32, max_span=256, ramp_length=16, seq_len=32),
        agent=AgentConfig(n_steps=128, segment_length=64, batch_size=1024, learning_rate=6e-4, learning_rate_end=0.0),
        total_timesteps=2_000_000,
    ),
)
