"""CartPole and Pendulum without velocities, beside sb3-contrib's RecurrentPPO: `python -m experiments.classic cartpole`.

Where things were a moment ago tells how fast they move: a memory of a few steps does, none does not.
"""

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import tyro
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, sync_envs_normalization
from torch import nn

import envs
from agents import ExpireSpanPPO

Agent = Literal["expire-span", "no-memory", "recurrent-ppo"]
AGENTS: tuple[Agent, ...] = ("expire-span", "no-memory", "recurrent-ppo")
Task = Literal["cartpole", "pendulum"]

EVALUATION_SEED = 10**6
"""Of the first evaluation environment; trainings have their own seeds, far below."""
EVALUATION_ENVS = 20


@dataclass(frozen=True)
class Problem:
    """A task, and how each agent trains on it.

    Args:
        env_id: of the environment.
        n_envs: how many of it, under `VecNormalize`.
        total_timesteps: of the training, all environments counted.
        shared: arguments of all agents.
        ours: further arguments of ours, with and without a memory.
        memory: the core's, in `policy_kwargs`.
        recurrent: further arguments of RecurrentPPO.
    """

    env_id: str
    n_envs: int
    total_timesteps: int
    shared: Mapping[str, Any]
    ours: Mapping[str, Any]
    memory: Mapping[str, Any]
    recurrent: Mapping[str, Any]


PROBLEMS: Mapping[Task, Problem] = {
    "cartpole": Problem(
        envs.CART_POLE_NO_VELOCITY,
        n_envs=8,
        total_timesteps=50_000,
        # Those of sb3-contrib's own test on this task.
        shared={"n_steps": 128, "batch_size": 256, "n_epochs": 10, "gae_lambda": 0.98, "max_grad_norm": 1.0},
        ours={"learning_rate": LinearSchedule(7e-4, 0.0, 1.0), "segment_length": 64, "ent_coef": 0.0},
        memory={"dim": 64, "depth": 1, "heads": 4, "slots": 16, "max_span": 32, "ramp_length": 8, "seq_len": 24, "net_arch": {"pi": [64], "vf": [64]}},
        recurrent={
            "learning_rate": 7e-4,
            "policy_kwargs": {"net_arch": {"pi": [], "vf": [64]}, "lstm_hidden_size": 64, "ortho_init": False},
        },
    ),
    "pendulum": Problem(
        envs.PENDULUM_NO_VELOCITY,
        n_envs=4,
        total_timesteps=200_000,
        # Those of rl-baselines3-zoo for RecurrentPPO on this task.
        shared={"n_steps": 1024, "batch_size": 128, "n_epochs": 10, "gamma": 0.9, "use_sde": True, "sde_sample_freq": 4},
        ours={"learning_rate": LinearSchedule(1e-3, 0.0, 1.0), "segment_length": 64, "ent_coef": 0.0},
        memory={"dim": 64, "depth": 1, "heads": 4, "slots": 16, "max_span": 32, "ramp_length": 8, "seq_len": 24, "net_arch": {"pi": [64], "vf": [64]}},
        recurrent={
            "learning_rate": 1e-3,
            "policy_kwargs": {"ortho_init": False, "activation_fn": nn.ReLU, "lstm_hidden_size": 64, "net_arch": {"pi": [64], "vf": [64]}},
        },
    ),
}


@dataclass(frozen=True)
class Result:
    """What became of a training."""

    agent: Agent
    seed: int
    mean: float
    """Return, over the evaluation's episodes."""
    deviation: float
    seconds: float
    """Of the training, evaluation not counted."""


def build(agent: Agent, problem: Problem, env: VecEnv, seed: int) -> BaseAlgorithm:
    """The agent, untrained."""
    fixed = {**problem.shared, "seed": seed, "device": "cpu"}
    if agent == "recurrent-ppo":
        # By name, so that types can be checked without the package.
        recurrent_ppo = importlib.import_module("sb3_contrib").RecurrentPPO
        model: BaseAlgorithm = recurrent_ppo("MlpLstmPolicy", env, **fixed, **problem.recurrent)
        return model
    memory = {**problem.memory, "slots": 0} if agent == "no-memory" else dict(problem.memory)
    return ExpireSpanPPO("MlpPolicy", env, **fixed, **problem.ours, policy_kwargs=memory)


def trained(agent: Agent, problem: Problem, seed: int, episodes: int) -> Result:
    with closing(VecNormalize(make_vec_env(problem.env_id, problem.n_envs, seed=1000 * seed), gamma=problem.shared.get("gamma", 0.99))) as env:
        began = time.process_time()
        model = build(agent, problem, env, seed)
        model.learn(problem.total_timesteps)
        seconds = time.process_time() - began
        fresh = make_vec_env(problem.env_id, EVALUATION_ENVS, seed=EVALUATION_SEED)
        with closing(VecNormalize(fresh, training=False, norm_reward=False)) as evaluation:
            sync_envs_normalization(env, evaluation)
            mean, deviation = evaluate_policy(model, evaluation, episodes, deterministic=True)
    return Result(agent, seed, mean, deviation, seconds)
