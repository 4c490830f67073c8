"""Evaluation that carries the memory and says which actions may be taken; Stable-Baselines3's own does the first alone.

sb3-contrib's passes masks, and no state.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common import callbacks, evaluation
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.action_masks import get_action_masks, uses_masks


class Masked:
    """A model that asks environments for their masks before it predicts; all else is the model's.

    Args:
        model: an `ExpireSpanPPO`, or another whose `predict` takes `action_masks`.
        env: whose observations it is given.
    """

    def __init__(self, model: Any, env: VecEnv) -> None:
        self._model, self._env = model, env

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(
        self, observation: Any, state: Any = None, episode_start: np.ndarray | None = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """As the model's, with the masks of the environments as they are now."""
        masks = get_action_masks(self._env)
        acted: tuple[np.ndarray, Any] = self._model.predict(
            observation, state, episode_start, deterministic, action_masks=masks
        )
        return acted


def evaluate_policy(
    model: Any,
    env: gym.Env[Any, Any] | VecEnv,
    n_eval_episodes: int = 10,
    deterministic: bool = True,
    render: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
    reward_threshold: float | None = None,
    return_episode_rewards: bool = False,
    warn: bool = True,
    use_masking: bool | None = None,
) -> tuple[Any, Any]:
    """Plays episodes; Stable-Baselines3's `evaluate_policy`, with action masks.

    Args:
        model: an `ExpireSpanPPO`.
        env: an environment or a vector of them.
        n_eval_episodes, deterministic, render, callback, reward_threshold, return_episode_rewards, warn: as in SB3.
        use_masking: whether to ask the environments for masks; default: where they have them.

    Returns:
        Mean and standard deviation of the episodes' returns; with `return_episode_rewards` all returns and lengths.

    Raises:
        ValueError: with `use_masking=True`, for environments that have no masks.
    """
    vec_env = _vectorised(env)
    return evaluation.evaluate_policy(
        Masked(model, vec_env) if uses_masks(vec_env, use_masking) else model,
        vec_env,
        n_eval_episodes=n_eval_episodes,
        deterministic=deterministic,
        render=render,
        callback=callback,
        reward_threshold=reward_threshold,
        return_episode_rewards=return_episode_rewards,
        warn=warn,
    )


def _vectorised(env: gym.Env[Any, Any] | VecEnv) -> VecEnv:
    return env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])


class EvalCallback(callbacks.EvalCallback):
    """Stable-Baselines3's `EvalCallback`, with action masks.

    Args:
        args, kwargs: as in SB3.
        use_masking: whether to ask the evaluation's environments for masks; default: where they have them.
    """

    def __init__(self, *args: Any, use_masking: bool | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._masked = uses_masks(self.eval_env, use_masking)

    def _on_step(self) -> bool:
        if not self._masked:
            return super()._on_step()
        # It evaluates its `model`, in one long method that would have to be copied to be changed.
        model: Any = self.model
        self.model = Masked(model, self.eval_env)  # type: ignore[assignment]  # stands for it
        try:
            return super()._on_step()
        finally:
            self.model = model
