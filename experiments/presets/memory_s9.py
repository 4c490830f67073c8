"""MiniGrid-MemoryS9 with a view of three cells."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.presets import Preset

PRESET = Preset(
    title="MiniGrid-MemoryS9, view of 3",
    demands="keep the object seen at the start until the fork at the corridor's end, some 10 steps later",
    config=TrainConfig(
        env=EnvConfig(env_id="MiniGrid-MemoryS9-v0", env_args=("agent_view_size=3",), n_envs=16),
        core=CoreConfig(dim=128, depth=2, slots=64, max_span=128, ramp_length=16),
        agent=AgentConfig(ent_coef=0.01, batch_size=512),
        total_timesteps=2_000_000,
    ),
)
