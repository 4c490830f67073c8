"""CartPole and Pendulum without velocities, RecurrentPPO beside us: `python -m experiments.classic cartpole`.

Where things were a moment ago tells how fast they move: a memory of a few steps has it, a policy without one never.
"""

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import mean
from typing import Annotated, Any, Literal

import torch
import tyro
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, sync_envs_normalization
from torch import nn
from tyro.conf import Positional, arg

import envs
from agents import ExpireSpanPPO
from experiments import contrib
from experiments.errors import UserError, status_after
from experiments.whole_numbers import REGISTRY

Task = Literal["cartpole", "pendulum"]
Agent = Literal["expire-span", "no-memory", "recurrent-ppo"]

TRAINING_SEEDS = 1000
"""Between the environments' seeds of two trainings."""
EVALUATION_SEED = 10**6
"""Of the first evaluation environment; those of trainings lie below."""
EVALUATION_ENVS = 20


@dataclass(frozen=True)
class Problem:
    """A task, and what each agent is given for it.

    Args:
        env_id: of the environment.
        n_envs: how many of it, in `VecNormalize`.
        total_timesteps: of a training, all environments counted.
        shared: arguments of all agents.
        ours: further ones of `ExpireSpanPPO`.
        memory: its `policy_kwargs`; without a memory the same but for `slots=0`.
        recurrent: further ones of RecurrentPPO.
    """

    env_id: str
    n_envs: int
    total_timesteps: int
    shared: Mapping[str, Any]
    ours: Mapping[str, Any]
    memory: Mapping[str, Any]
    recurrent: Mapping[str, Any]


_SHORT = {"dim": 64, "depth": 1, "heads": 4, "slots": 16, "max_span": 32, "ramp_length": 8, "seq_len": 24}
"""A memory of some ten steps."""
PROBLEMS: Mapping[Task, Problem] = {
    "cartpole": Problem(
        envs.CART_POLE_NO_VELOCITY,
        n_envs=8,
        total_timesteps=50_000,
        # As in sb3-contrib's own test on this task.
        shared={"n_steps": 128, "batch_size": 256, "n_epochs": 10, "gae_lambda": 0.98, "max_grad_norm": 1.0},
        ours={"learning_rate": LinearSchedule(7e-4, 0.0, 1.0), "ent_coef": 0.0},
        # Spans that fill the slots at first failed with one seed of three.
        memory={**_SHORT, "net_arch": [64], "initial_span": 0.1},
        recurrent={
            "learning_rate": 7e-4,
            "policy_kwargs": {"lstm_hidden_size": 64, "net_arch": {"vf": [64]}, "ortho_init": False},
        },
    ),
    "pendulum": Problem(
        envs.PENDULUM_NO_VELOCITY,
        n_envs=4,
        total_timesteps=100_000,
        # As in rl-baselines3-zoo for RecurrentPPO on this task.
        shared={"n_steps": 1024, "n_epochs": 10, "gamma": 0.9, "use_sde": True, "sde_sample_freq": 4},
        # Shorter segments than usual, so that minibatches hold more of them: what is to be kept is some steps old.
        ours={
            "learning_rate": LinearSchedule(7e-4, 0.0, 1.0),
            "segment_length": 16,
            "batch_size": 256,
            "ent_coef": 0.0,
        },
        memory={**_SHORT, "net_arch": [64]},
        recurrent={
            "learning_rate": 1e-3,
            "policy_kwargs": {
                "lstm_hidden_size": 64,
                "net_arch": [64],
                "activation_fn": nn.ReLU,
                "ortho_init": False,
            },
        },
    ),
}


@dataclass(frozen=True)
class ClassicConfig:
    """Train agents on a task without velocities, play fresh episodes with the likeliest actions, print a table."""

    task: Positional[Task]
    """CartPole (500 steps at most, a reward of 1 each) or Pendulum (200 steps, rewards of 0 and below)."""
    seeds: Annotated[tuple[int, ...], arg(metavar="SEED ...")] = (0, 1, 2)
    """Of the trainings, one each."""
    agents: tuple[Agent, ...] = ("expire-span", "no-memory", "recurrent-ppo")
    """Who trains; recurrent-ppo needs the extra `bench`."""
    timesteps: int | None = None
    """Environment steps of a training; None for the task's own."""
    episodes: int = 100
    """Of an evaluation."""


@dataclass(frozen=True)
class Result:
    """What became of a training: the mean return of its evaluation, and the processor's seconds it took."""

    agent: Agent
    seed: int
    mean_return: float
    seconds: float


def build(agent: Agent, problem: Problem, env: VecEnv, seed: int) -> BaseAlgorithm:
    """An agent, untrained."""
    arguments = {**problem.shared, "seed": seed, "device": "cpu"}
    if agent == "recurrent-ppo":
        model: BaseAlgorithm = contrib.recurrent_ppo()("MlpLstmPolicy", env, **arguments, **problem.recurrent)
        return model
    memory = {**problem.memory, "slots": 0} if agent == "no-memory" else dict(problem.memory)
    return ExpireSpanPPO("MlpPolicy", env, **arguments, **problem.ours, policy_kwargs=memory)


def result(agent: Agent, problem: Problem, seed: int, episodes: int) -> Result:
    """Trains an agent and lets it play, with the normalisation as it was at the training's end."""
    made = make_vec_env(problem.env_id, problem.n_envs, seed=seed * TRAINING_SEEDS)
    fresh = make_vec_env(problem.env_id, EVALUATION_ENVS, seed=EVALUATION_SEED)
    normalized = VecNormalize(made, gamma=problem.shared.get("gamma", 0.99))
    with closing(normalized) as env, closing(VecNormalize(fresh, training=False, norm_reward=False)) as frozen:
        began = time.process_time()
        model = build(agent, problem, env, seed).learn(problem.total_timesteps)
        seconds = time.process_time() - began
        sync_envs_normalization(env, frozen)
        returns, _ = evaluate_policy(model, frozen, episodes, deterministic=True)
    assert isinstance(returns, float)
    return Result(agent, seed, float(returns), seconds)


def table(results: Sequence[Result]) -> str:
    """The mean returns in Markdown: a row for each agent, a column for each seed, in the order they come in."""
    seeds = list(dict.fromkeys(each.seed for each in results))
    heading = ["agent", *(f"seed {seed}" for seed in seeds), "mean", "CPU seconds a training"]
    lines = [f"| {' | '.join(heading)} |", "|---" + "|---:" * (len(heading) - 1) + "|"]
    for agent in dict.fromkeys(each.agent for each in results):
        rows = [each for each in results if each.agent == agent]
        returns, seconds = [row.mean_return for row in rows], mean(row.seconds for row in rows)
        numbers = (f"{number:.1f}" for number in (*returns, mean(returns)))
        lines.append(f"| {agent} | {' | '.join(numbers)} | {seconds:.0f} |")
    return "\n".join(lines)


def _check(config: ClassicConfig) -> None:
    """Raises a `UserError` for settings with which nothing would be compared."""
    for name, values in (("seeds", config.seeds), ("agents", config.agents)):
        if not values or len(set(values)) < len(values):
            raise UserError(f"--{name} {' '.join(map(str, values))}: give one or more, each once")
    for seed in config.seeds:
        if not 0 <= seed < EVALUATION_SEED // TRAINING_SEEDS:
            raise UserError(f"--seeds {seed}: must be between 0 and {EVALUATION_SEED // TRAINING_SEEDS - 1}")
    for name, number in (("timesteps", config.timesteps), ("episodes", config.episodes)):
        if number is not None and number < 1:
            raise UserError(f"--{name} {number}: must be at least 1")


def classic(config: ClassicConfig) -> None:
    """Trains all agents with all seeds, and prints the table.

    Raises:
        UserError: for settings out of range, or if sb3-contrib isn't installed and is asked for.
    """
    _check(config)
    why_not = contrib.missing()
    if "recurrent-ppo" in config.agents and why_not is not None:
        raise UserError(f"--agents recurrent-ppo: {why_not}")
    torch.set_num_threads(1)
    problem = PROBLEMS[config.task]
    if config.timesteps is not None:
        problem = dataclasses.replace(problem, total_timesteps=config.timesteps)
    results = []
    for agent in config.agents:
        for seed in config.seeds:
            results.append(result(agent, problem, seed, config.episodes))
            print(results[-1], file=sys.stderr, flush=True)
    print(f"{problem.env_id}, {problem.total_timesteps:,} steps, mean return of {config.episodes} episodes\n")
    print(table(results))


def main() -> None:
    """Runs the program."""
    classic(tyro.cli(ClassicConfig, description=ClassicConfig.__doc__, registry=REGISTRY))


if __name__ == "__main__":
    sys.exit(status_after(main))
