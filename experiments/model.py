"""The agent of a configuration, made."""

import inspect
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents import ExpireSpanPPO, MiniGridExtractor
from agents.extractors import is_minigrid_codes
from experiments.arguments import parse_pairs
from experiments.config import AgentConfig, CoreConfig, TrainConfig, values
from experiments.errors import UserError, one_line
from experiments.faults import is_out_of_memory, told_of_memory

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

BUDGET_FALLS = 0.5
"""Share of a training over which the memory budget falls; the rest is for the spans to follow."""

# What a wrong setting makes Stable-Baselines3 and our library raise while a model is built.
_WRONG_SETTING = (ValueError, AssertionError, TypeError, RuntimeError)


def policy_name(agent: AgentConfig, observations: spaces.Space[Any]) -> str:
    """The policy by SB3's name: as set, or chosen by the observations."""
    if agent.policy != "auto":
        return agent.policy
    if isinstance(observations, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(observations) else "MlpPolicy"


def embeds_codes(agent: AgentConfig, observations: spaces.Space[Any]) -> bool:
    """Whether observations are MiniGrid's codes, and read as such."""
    return agent.extractor != "default" and is_minigrid_codes(observations)


def policy_kwargs(core: CoreConfig, agent: AgentConfig, observations: spaces.Space[Any]) -> dict[str, Any]:
    """The policy's keyword arguments."""
    kwargs: dict[str, Any] = core.arguments()
    if agent.net_arch is not None:
        kwargs["net_arch"] = list(agent.net_arch)
    if agent.activation_fn is not None:
        kwargs["activation_fn"] = ACTIVATIONS[agent.activation_fn]
    # "auto" is the policy's own choice; "default" differs from it for MiniGrid's codes alone.
    if agent.extractor == "minigrid":
        kwargs["features_extractor_class"] = MiniGridExtractor
    elif agent.extractor == "default" and policy_name(agent, observations) == "MlpPolicy":
        kwargs["features_extractor_class"] = FlattenExtractor
    kwargs |= parse_pairs(agent.policy_args, "--policy-args")
    if agent.pooled and embeds_codes(agent, observations):
        kwargs["features_extractor_kwargs"] = kwargs.get("features_extractor_kwargs", {}) | {"pooled": True}
    return kwargs


def learning_arguments(agent: AgentConfig, algorithm: type[BaseAlgorithm]) -> dict[str, Any]:
    """What is set of learning, as far as an algorithm has it, as its keyword arguments."""
    known = inspect.signature(algorithm).parameters.keys() - {"policy"}
    arguments = {name: value for name, value in values(agent).items() if name in known}
    if agent.learning_rate_end is not None:
        arguments["learning_rate"] = LinearSchedule(agent.learning_rate, agent.learning_rate_end, 1.0)
    return arguments


def build_model(config: TrainConfig, vec_env: VecEnv, device: torch.device) -> ExpireSpanPPO:
    """A new agent.

    Raises:
        UserError: for settings that don't fit, or that the policy doesn't have.
    """
    agent = config.agent
    arguments = learning_arguments(agent, ExpireSpanPPO)
    if agent.memory_budget_end is not None:
        start = float(config.core.slots) if agent.memory_budget is None else agent.memory_budget
        arguments["memory_budget"] = LinearSchedule(start, agent.memory_budget_end, BUDGET_FALLS)
    observations = vec_env.observation_space
    try:
        return ExpireSpanPPO(
            policy_name(agent, observations),
            vec_env,
            policy_kwargs=policy_kwargs(config.core, agent, observations),
            seed=config.seed,
            device=device,
            **arguments,
        )
    except (*_WRONG_SETTING, MemoryError) as error:
        raise UserError(told_of_memory(error, device) if is_out_of_memory(error) else one_line(error)) from error
