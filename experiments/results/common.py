"""What tasks have in common: environments for one GPU, learning, and how a memory begins.

Everything that fits is remembered at the start, and costs nothing; then the budget falls, and what isn't needed is
forgotten. Spans that start short must be lengthened one step of reward after another, and a cue that is older than all
of them gives no gradient at all (`experiments/LOG.md`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.config import AgentConfig, CoreConfig, EnvConfig

MEMORY_CORE = CoreConfig(dim=64, slots=64, max_span=128, ramp_length=8, ramp_power=8)
"""Of MiniGrid's Memory tasks."""
MEMORY_AGENT = AgentConfig(
    n_steps=64,
    segment_length=64,
    batch_size=8192,
    learning_rate=7e-4,
    learning_rate_end=1e-4,
    gamma=0.998,
    gae_lambda=0.97,
    # A sure way to a target is half right, and an agent that is soon content with it never looks back.
    ent_coef=0.05,
    ent_coef_end=0.005,
    memory_budget_end=8.0,
    expire_loss_coef=4e-5,
    stats_window_size=1000,
    precision="tf32",
)
"""Of MiniGrid's Memory tasks."""
CORRIDOR_AGENT = AgentConfig(
    n_steps=128,
    segment_length=64,
    batch_size=8192,
    learning_rate=7e-4,
    learning_rate_end=5e-5,
    stats_window_size=1000,
    precision="tf32",
)
"""Of the corridors, but for the price of memory."""
KEY_AGENT = AgentConfig(
    n_steps=128,
    segment_length=64,
    batch_size=1024,
    learning_rate=5e-4,
    learning_rate_end=0.0,
    gamma=0.995,
    # By chance one episode in a hundred succeeds (S3R2). Normalised, the noise of all others moves the policy as far
    # as a success does, until it no longer explores.
    normalize_advantage=False,
    ent_coef=0.003,
    ent_coef_end=0.001,
    stats_window_size=200,
    precision="tf32",
)
"""Of KeyCorridor, whose environments are Python's, so that there are fewer of them."""


def quarter_minibatches(agent: AgentConfig) -> Mapping[str, Any]:
    """What suits an LSTM better where the expiring memory learns with `agent`, and a Transformer-XL in one task.

    The best of four trials with another seed: `agent` as it is, a step size of two fifths, a fifth of the entropy
    bonus, minibatches of a quarter (`experiments/LOG.md`).
    """
    return {"batch_size": agent.batch_size // 4}


def fifth_of_the_entropy(agent: AgentConfig) -> Mapping[str, Any]:
    """What suits an LSTM better in the T-Mazes, by the same four trials."""
    end = agent.ent_coef_end
    return {"ent_coef": round(agent.ent_coef / 5, 9), "ent_coef_end": None if end is None else round(end / 5, 9)}


def corridor_core(slots: int) -> CoreConfig:
    """A core for ways of which so many steps are to be remembered at first.

    One layer: of two, the second sees what the first saw, so that cues are handed on from state to state. That reaches
    twice as far as the spans, and no gradient comes from farther on.
    """
    return CoreConfig(
        dim=64,
        depth=1,
        slots=slots,
        max_span=2 * slots,
        # Spans learn from what is read and from the price, which draws them apart sooner than the reward's gradient,
        # and needs no ramp: a cue ends up with a span that it never outlives, all else with one of a few steps.
        read_margin=2,
        ramp_gradient=False,
        ramp_length=2,
        # A cue is mostly older than that in training, so what finds it then finds it at any age.
        seq_len=8,
    )


def tmaze_core(slots: int) -> CoreConfig:
    """The same for corridor after corridor."""
    # Several cues are alive at once, and the newest counts. A corridor can be twice as long as any in training, and the
    # cue is needed a few steps more than that.
    return dataclasses.replace(corridor_core(slots), log_position=True, read_margin=4)


def corridor_agent(slots: int, memory_budget_end: float) -> AgentConfig:
    """Learning for a core of so many slots, with so many live memories free of charge in the end."""
    # The price is charged by the step of span, so that it weighs the less the longer they are.
    return dataclasses.replace(CORRIDOR_AGENT, memory_budget_end=memory_budget_end, expire_loss_coef=6.4e-3 / slots)


def tmaze_agent(slots: int) -> AgentConfig:
    """The same for corridor after corridor, in which what outlives its corridor is of no use."""
    return dataclasses.replace(
        corridor_agent(slots, memory_budget_end=8),
        batch_size=1024,
        expire_loss_coef=1.28e-2 / slots,
        # A wrong turn costs what a right one brings: an agent that is soon content with neither turns no more.
        ent_coef=0.03,
        ent_coef_end=0.003,
    )


def batched(env_id: str, *env_args: str, n_envs: int = 2048) -> EnvConfig:
    """Environments that step as tensors."""
    return EnvConfig(env_id=env_id, env_args=env_args, n_envs=n_envs, vec_env="batched")


def key_corridor(rooms: int) -> EnvConfig:
    """KeyCorridor with three columns and `rooms` rows of rooms."""
    return EnvConfig(env_id=f"MiniGrid-KeyCorridorS3R{rooms}-v0", n_envs=128, vec_env="subprocess")
