"""Agents as small as can be, on environments of any spaces."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents import ExpireSpanPPO, PolicyState
from tests.agents.models import CORE
from tests.agents.worlds import ClockEnv, box

SMALL = CORE | {"depth": 1}
N_ENVS = 2
ROLLOUT = 12
"""Steps of a rollout, of both environments together."""


def clocks(observations: spaces.Space | None = None, actions: spaces.Space | None = None) -> DummyVecEnv:
    """Two environments with these spaces; by default vectors, and four actions."""
    env = DummyVecEnv([lambda: ClockEnv(observations or box(3), actions or spaces.Discrete(4))] * N_ENVS)
    env.seed(0)
    return env


def tiny(env: Any = None, policy: str = "MlpPolicy", **arguments: Any) -> ExpireSpanPPO:
    """An agent on `env`, by default `clocks()`; `policy_kwargs` are added to those of `SMALL`."""
    sizes: dict[str, Any] = {"n_steps": ROLLOUT // N_ENVS, "segment_length": 3, "batch_size": 6, "n_epochs": 1}
    sizes |= {"seed": 0, "device": "cpu", "compile": False} | arguments
    return ExpireSpanPPO(
        policy,
        clocks() if env is None else env,
        **sizes | {"policy_kwargs": SMALL | arguments.get("policy_kwargs", {})},
    )


def weights(model: ExpireSpanPPO) -> torch.Tensor:
    """All of them, as one vector; a copy."""
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def played(model: ExpireSpanPPO, env: VecEnv, steps: int = 3) -> np.ndarray:
    """The likeliest actions over a few steps of episodes of seed 0, the state carried from step to step."""
    env.seed(0)
    obs, state, starts = env.reset(), None, np.ones(env.num_envs, dtype=bool)
    actions = []
    for _ in range(steps):
        assert not isinstance(obs, tuple)
        action, state = model.predict(obs, state, starts, deterministic=True)
        assert isinstance(state, PolicyState)
        actions.append(action)
        obs, _, starts, _ = env.step(action)
    return np.stack(actions)
