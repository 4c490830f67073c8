"""What tasks have in common: environments and learning for one GPU, the presets scaled to more environments.

512 environments with minibatches of 4,096 make as many gradient steps an update as the presets' 64 to 128 with 512 to
1,024 do, and budgets are such that a run has 10,000 to 60,000 of them in all.
"""

from experiments.config import AgentConfig, CoreConfig, EnvConfig

MEMORY_AGENT = AgentConfig(
    n_steps=64,
    segment_length=64,
    batch_size=4096,
    learning_rate=5e-4,
    learning_rate_end=2e-4,
    # A sure way to a target is half right, and an agent that is soon content with it never looks back.
    gamma=0.998,
    gae_lambda=0.97,
    ent_coef=0.05,
    ent_coef_end=0.002,
    # Long enough free of charge to find out what a memory is good for; then only what is needed.
    memory_budget_end=2.0,
    expire_loss_coef=5e-4,
    stats_window_size=1000,
    precision="tf32",
)
"""Of MiniGrid's Memory tasks: the preset memory-s13."""

CORRIDOR_AGENT = AgentConfig(
    n_steps=128,
    segment_length=64,
    batch_size=8192,
    learning_rate=6e-4,
    learning_rate_end=0.0,
    stats_window_size=1000,
    precision="tf32",
)
"""Of the corridors: the preset corridor."""

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

MEMORY_CORE = CoreConfig(dim=64, slots=64, max_span=256, ramp_length=8)


def batched(env_id: str, *env_args: str, n_envs: int = 512) -> EnvConfig:
    """Environments that step as tensors."""
    return EnvConfig(env_id=env_id, env_args=env_args, n_envs=n_envs, vec_env="batched")


def key_corridor(rooms: int) -> EnvConfig:
    """KeyCorridor with three columns and `rooms` rows of rooms."""
    return EnvConfig(env_id=f"MiniGrid-KeyCorridorS3R{rooms}-v0", n_envs=64, vec_env="subprocess")
