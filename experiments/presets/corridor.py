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
        # One layer: of two, the second sees what the first saw, and a cue is handed on instead of kept. Spans learn
        # from what is read and from the price alone.
        core=CoreConfig(
            dim=64,
            depth=1,
            slots=128,
            max_span=256,
            ramp_length=2,
            read_margin=2,
            ramp_gradient=False,
            # A cue is mostly older than that in training, so what finds it then finds it at any age.
            seq_len=8,
        ),
        agent=AgentConfig(
            n_steps=128,
            segment_length=64,
            batch_size=1024,
            learning_rate=7e-4,
            # So that spans still move when the budget has fallen.
            learning_rate_end=1e-4,
            memory_budget_end=6.0,
            expire_loss_coef=5e-5,
        ),
        total_timesteps=1_200_000,
    ),
)
