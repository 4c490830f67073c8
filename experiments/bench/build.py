"""The agents of the rows."""

from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from experiments import contrib
from experiments.bench.rows import Row, train_config
from experiments.config import BenchConfig
from experiments.model import build_model, policy_name


def build_agent(row: Row, config: BenchConfig, vec_env: VecEnv, device: torch.device) -> OnPolicyAlgorithm:
    """The agent of a row. Raises a `UserError` for settings that don't fit."""
    settings = train_config(config, row)
    if row.agent == "expire-span":
        return build_model(settings, vec_env, device)
    policy = policy_name(settings.agent, vec_env.observation_space)
    sizes: dict[str, Any] = {
        "n_steps": settings.agent.n_steps,
        "batch_size": settings.agent.batch_size,
        "n_epochs": settings.agent.n_epochs,
        "seed": settings.seed,
        "device": device,
    }
    if row.agent == "ppo":
        return PPO(policy, vec_env, **sizes)
    model: OnPolicyAlgorithm = contrib.recurrent_ppo()(
        policy.replace("Policy", "LstmPolicy"), vec_env, policy_kwargs=row.policy_kwargs, **sizes
    )
    return model
