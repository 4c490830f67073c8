"""A batched environment as Gymnasium's vector environments: what `gymnasium.make_vec` gives."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, UInt8

from envs.batched.arrays import to_actions, to_numpy
from envs.batched.engine import BatchedEnv, Transition
from envs.batched.make import make_batched
from envs.tasks import CORRIDOR, ENDLESS_TMAZE, MEMORY

Batch = UInt8[np.ndarray, "n v v 3"]


class BatchedVectorEnv(VectorEnv[Batch, np.ndarray, np.ndarray]):
    """A `BatchedEnv` for Gymnasium: NumPy in and out, episodes begin anew in the step that ends one (SAME_STEP).

    `infos` are empty but where an episode ends. There, as in `SyncVectorEnv`, `final_obs` has the last
    observations (None elsewhere), `final_info` has `is_success`, `episode` (`r` return, `l` length) and what the
    task says of an episode's end (`BatchedTask.info`), and the masks `_final_obs`, `_final_info`, … say where.

    Args:
        tensor_env: The environments.
    """

    def __init__(self, tensor_env: BatchedEnv) -> None:
        self.tensor_env = tensor_env
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.num_envs = tensor_env.n_envs
        self.single_observation_space = tensor_env.observation_space
        self.single_action_space = tensor_env.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Batch, dict[str, Any]]:
        """Start new episodes everywhere.

        Args:
            seed: Begin again with this seed's first episodes; None (default) goes on. One for all: the
                environments' levels are a function of it and their index.
            options: None are known.

        Raises:
            ValueError: If seeds are given as a list, or an option is (`reset_mask`, for instance).
        """
        if isinstance(seed, list):
            raise ValueError(f"seed must be one integer for all environments or None, not {seed!r}")
        if options:
            raise ValueError(f"a batched environment has no reset options, not {', '.join(map(str, options))}")
        return to_numpy(self.tensor_env.reset(seed)), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[
        Batch,
        Float[np.ndarray, " n"],
        Bool[np.ndarray, " n"],
        Bool[np.ndarray, " n"],
        dict[str, Any],
    ]:
        """Step all environments; rewards are float64 as Gymnasium's are.

        Raises:
            ValueError: If the actions aren't one of 0, 1, 2 for each environment.
        """
        step = self.tensor_env.step(to_actions(actions, self.tensor_env))
        terminated, truncated = to_numpy(step.terminated), to_numpy(step.truncated)
        ended = terminated | truncated
        infos = self._final(step, ended) if ended.any() else {}
        return to_numpy(step.obs), to_numpy(step.rewards).astype(np.float64), terminated, truncated, infos

    def _final(self, step: Transition, ended: Bool[np.ndarray, " n"]) -> dict[str, Any]:
        """`final_obs` and `final_info` with their masks."""
        observations = np.full(self.num_envs, None, dtype=object)
        rows = np.flatnonzero(ended)
        last = to_numpy(step.final_obs[torch.from_numpy(rows).to(self.tensor_env.device)])
        for row, observation in zip(rows.tolist(), last, strict=True):
            observations[row] = observation
        episode = {
            "r": np.where(ended, to_numpy(step.episode_returns).astype(np.float64), 0.0),
            "l": np.where(ended, to_numpy(step.episode_lengths), 0),
            "_r": ended.copy(),
            "_l": ended.copy(),
        }
        final_info = {
            "is_success": ended & to_numpy(step.is_success),
            "_is_success": ended.copy(),
            "episode": episode,
            "_episode": ended.copy(),
        }
        for name, values in self.tensor_env.task.info(step.final_places).items():
            final_info |= {name: np.where(ended, to_numpy(values), 0), f"_{name}": ended.copy()}
        return {
            "final_obs": observations,
            "_final_obs": ended.copy(),
            "final_info": final_info,
            "_final_info": ended.copy(),
        }


def make_corridor(num_envs: int = 1, **kwargs: Any) -> BatchedVectorEnv:
    """The vector entry point of `ExpireSpan/Corridor-v0`; arguments as for `make_batched`."""
    return BatchedVectorEnv(make_batched(CORRIDOR, num_envs, **kwargs))


def make_endless_tmaze(num_envs: int = 1, **kwargs: Any) -> BatchedVectorEnv:
    """The vector entry point of `ExpireSpan/EndlessTMaze-v0`; arguments as for `make_batched`."""
    return BatchedVectorEnv(make_batched(ENDLESS_TMAZE, num_envs, **kwargs))


def make_memory(num_envs: int = 1, **kwargs: Any) -> BatchedVectorEnv:
    """The vector entry point of `ExpireSpan/Memory-v0`; arguments as for `make_batched`."""
    return BatchedVectorEnv(make_batched(MEMORY, num_envs, **kwargs))
