"""Acting with an agent while looking at what its memory does."""

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Bool, Float
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents import ExpireSpanPPO
from agents.action_masks import get_action_masks
from agents.cores import CoreStep
from agents.policies import Step
from experiments.errors import ActingFault, one_line
from expire_span import StepOutput


def masks_of(env: gym.Env[Any, Any] | VecEnv) -> np.ndarray:
    """As `agents.action_masks.get_action_masks`, of environments that an agent acts in.

    Raises:
        ActingFault: for masks that can't be.
    """
    try:
        return get_action_masks(env)
    except ValueError as error:
        raise ActingFault(one_line(error)) from error


class Acts(Protocol):
    """What plays episodes: it acts step by step, and says what its memory did."""

    def act(
        self,
        observations: Any,
        episode_starts: Bool[np.ndarray, " n_envs"],
        action_masks: Bool[np.ndarray, "n_envs choices"] | None = None,
    ) -> tuple[np.ndarray, CoreStep | None]:
        """As `Actor.act`; None of an agent whose memory can't be looked at."""
        ...


class Actor:
    """An agent in `n_envs` environments, one step after the other.

    Its memory is its own and written in place: a copy of all slots at each step takes longer than the step.

    Args:
        model: the agent.
        n_envs: environments that step side by side.
        deterministic: take the likeliest actions; else sample.
    """

    def __init__(self, model: ExpireSpanPPO, n_envs: int, deterministic: bool) -> None:
        self._policy = model.policy
        self._policy.set_training_mode(False)
        self._deterministic = deterministic
        self._cache = self._policy.initial_state(n_envs).cache

    def act(
        self,
        observations: Any,
        episode_starts: Bool[np.ndarray, " n_envs"],
        action_masks: Bool[np.ndarray, "n_envs choices"] | None = None,
    ) -> tuple[np.ndarray, CoreStep]:
        """Actions as the environments take them, and what the core did in this step.

        Args:
            observations: as the environments gave them, one for each, stacked (in each entry of a dict).
            episode_starts: whether this is an episode's first step.
            action_masks: which choices may be made, of environments that say it.
        """
        obs, _ = self._policy.obs_to_tensor(observations)
        starts = torch.as_tensor(episode_starts, device=self._policy.device)
        masks = None if action_masks is None else torch.as_tensor(action_masks, device=self._policy.device)
        step = self.step(obs, starts, masks)
        return self._policy.to_env_actions(step.actions), step.core

    @torch.no_grad()
    def step(
        self,
        obs: PyTorchObs,
        episode_starts: Bool[Tensor, " n_envs"],
        action_masks: Bool[Tensor, "n_envs choices"] | None = None,
    ) -> Step:
        """As `act`, on tensors of the policy's device; nothing waits for the host, so that it can be captured."""
        step = self._policy.step(obs, self._cache, episode_starts, self._deterministic, action_masks)
        self._cache.write_(step.core.write)
        return step


def live_memories(step: CoreStep | None) -> Float[np.ndarray, " n_envs"] | None:
    """Live memories that each environment's step saw, itself excluded; mean over the layers. None without slots."""
    if not isinstance(step, StepOutput):
        return None
    return (step.masks > 0).sum(dim=-1).float().mean(dim=0).cpu().numpy()
