"""The Corridor of 3 to 100 cells, with 32 slots."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.presets import Preset

PRESET = Preset(
    title="Corridor of 3 to 100 cells, 32 slots",
    demands="keep one colour over a walk far longer than the slots, and forget the walk",
    config=TrainConfig(
        env=EnvConfig(env_id="ExpireSpan/Corridor-v0", env_args=("min_length=3", "max_length=100"), n_envs=16),
        core=CoreConfig(dim=128, depth=2, slots=32, max_span=256, ramp_length=16),
        agent=AgentConfig(ent_coef=0.01, batch_size=512),
        total_timesteps=3_000_000,
    ),
)
