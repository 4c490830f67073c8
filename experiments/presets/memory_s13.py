"""MiniGrid-MemoryS13 with the default view."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.presets import Preset

PRESET = Preset(
    title="MiniGrid-MemoryS13, default view",
    demands="look back at the object first, then keep it over the corridor; rushing to a target is half right",
    config=TrainConfig(
        env=EnvConfig(env_id="MiniGrid-MemoryS13-v0", n_envs=64),
        core=CoreConfig(dim=128, depth=2, slots=64, max_span=256, ramp_length=16),
        agent=AgentConfig(ent_coef=0.02, gamma=0.995, batch_size=2048),
        total_timesteps=20_000_000,
    ),
)
