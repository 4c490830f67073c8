"""What tasks have in common: environments and learning for one GPU, the presets scaled to more environments.

512 environments with minibatches of 4,096 make as many gradient steps an update as the presets' 64 to 128 with 512 to
1,024 do, and budgets are such that a run has 10,000 to 60,000 of them in all.
"""

import dataclasses

from experiments.config import AgentConfig, EnvConfig
from experiments.presets.corridor import PRESET as CORRIDOR
from experiments.presets.memory_s13 import PRESET as MEMORY_S13

MEMORY_AGENT = dataclasses.replace(MEMORY_S13.config.agent, batch_size=4096, stats_window_size=1000, precision="tf32")
"""Of MiniGrid's Memory tasks."""
CORRIDOR_AGENT = dataclasses.replace(CORRIDOR.config.agent, batch_size=8192, stats_window_size=1000, precision="tf32")
"""Of the corridors."""
KEY_AGENT = AgentConfig(
    n_steps=128,
    segment_length=64,
    batch_size=1024,
    learning_rate=5e-4,
    learning_rate_end=0.0,
    gamma=0.995,
    ent_coef=0.02,
    ent_coef_end=0.002,
    stats_window_size=200,
    precision="tf32",
)
"""Of KeyCorridor, whose environments are Python's, so that there are fewer of them."""

MEMORY_CORE = MEMORY_S13.config.core


def batched(env_id: str, *env_args: str, n_envs: int = 512) -> EnvConfig:
    """Environments that step as tensors."""
    return EnvConfig(env_id=env_id, env_args=env_args, n_envs=n_envs, vec_env="batched")


def key_corridor(rooms: int) -> EnvConfig:
    """KeyCorridor with three columns and `rooms` rows of rooms."""
    return EnvConfig(env_id=f"MiniGrid-KeyCorridorS3R{rooms}-v0", n_envs=64, vec_env="subprocess")
