"""Settings that are searched are moved until they fit together."""

import dataclasses
import math
from collections.abc import Collection
from typing import Any

from experiments.config import AgentConfig, CoreConfig, TrainConfig

LONGEST_SEGMENT = 64
"""What `segment_length=None` takes at most."""


def fitted(config: TrainConfig, searched: Collection[str]) -> TrainConfig:
    """The configuration with searched settings moved to the nearest values that fit the rest.

    - `dim` is a multiple of `heads`, and even;
    - `segment_length` divides `n_steps`;
    - `ramp_length` is below `slots`, or live states would lose their slots whatever their spans are;
    - `batch_size` is whole segments, and at most a rollout.

    Where both of a pair are searched, the first named here moves. What isn't searched never does, so it may still not
    fit.

    Args:
        config: the settings, proposals in it.
        searched: names of the settings that may be moved.
    """
    core = dataclasses.replace(config.core, **_fitted_core(config.core, searched))
    agent = dataclasses.replace(config.agent, **_fitted_lengths(config.agent, searched))
    if "batch_size" in searched:
        length = agent.segment_length or max(_divisors(agent.n_steps, LONGEST_SEGMENT))
        most = agent.n_steps * config.env.n_envs // length
        segments = min(max(1, round(agent.batch_size / length)), max(1, most))
        agent = dataclasses.replace(agent, batch_size=segments * length)
    return dataclasses.replace(config, core=core, agent=agent)


def _fitted_core(core: CoreConfig, searched: Collection[str]) -> dict[str, Any]:
    moved: dict[str, Any] = {}
    if "dim" in searched:
        unit = math.lcm(2, max(1, core.heads))
        moved["dim"] = unit * max(1, round(core.dim / unit))
    if core.memory == "expire-span" and core.slots <= core.ramp_length:
        if "ramp_length" in searched and core.slots > 1:
            moved["ramp_length"] = float(core.slots - 1)
        elif "slots" in searched:
            moved["slots"] = math.floor(core.ramp_length) + 1
    return moved


def _fitted_lengths(agent: AgentConfig, searched: Collection[str]) -> dict[str, Any]:
    length, n_steps = agent.segment_length, agent.n_steps
    if not length or n_steps % length == 0:
        return {}
    if "segment_length" in searched:
        return {"segment_length": min(_divisors(n_steps, n_steps), key=lambda divisor: abs(divisor - length))}
    if "n_steps" in searched:
        return {"n_steps": length * max(1, round(n_steps / length))}
    return {}


def _divisors(number: int, most: int) -> list[int]:
    """The divisors of a number, up to `most`."""
    return [divisor for divisor in range(1, min(number, most) + 1) if number % divisor == 0]
