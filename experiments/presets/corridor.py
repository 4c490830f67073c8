"""The Corridor of 3 to 100 cells: everything remembered at first, then little."""

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.presets import Preset

PRESET = Preset(
    title="Corridor of 3 to 100 cells",
    demands="keep one colour over the whole walk, and forget the walk",
    config=TrainConfig(
        env=EnvConfig(
            env_id="ExpireSpan/Corridor-v0",
            env_args=("min_length=3", "max_length=100"),
            n_envs=64,
            vec_env="batched",
        ),
        # One layer: of two, the second sees what the first saw, and a cue is handed on instead of kept.
        core=CoreConfig(dim=64, depth=1, slots=128, max_span=256, ramp_length=8, ramp_power=8, seq_len=32),
        agent=AgentConfig(
            n_steps=128,
            segment_length=64,
            batch_size=1024,
            learning_rate=7e-4,
            # So that spans still move when the budget has fallen.
            learning_rate_end=3e-4,
            memory_budget_end=10.0,
            expire_loss_coef=2e-5,
        ),
        total_timesteps=1_200_000,
    ),
)
