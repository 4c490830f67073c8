"""A batched environment as Stable-Baselines3 knows them: NumPy in and out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from envs.batched.arrays import to_actions, to_numpy
from envs.batched.engine import BatchedEnv
from envs.one_vec_env import Indices, OneVecEnv


class BatchedVecEnv(OneVecEnv):
    """A `BatchedEnv` for Stable-Baselines3's algorithms, with a Monitor's statistics.

    Where an episode ends, `infos` have `episode` (`r` return, `l` length, `t` seconds since this object was
    made), `is_success`, `terminal_observation`, `TimeLimit.truncated` and what the task says of an episode's end (the
    `corridor_length`, the `turns` taken); elsewhere they are one empty dictionary, which isn't to be changed. Each
    step waits for the device once for every array: a learner that keeps to tensors steps `tensor_env` itself.

    Args:
        tensor_env: The environments; its `seed` holds until `seed` is called.
    """

    def __init__(self, tensor_env: BatchedEnv) -> None:
        self.tensor_env = tensor_env
        self._actions: Tensor | None = None
        self._seed: int | None = None
        self._nothing: dict[str, Any] = {}
        super().__init__(tensor_env.n_envs, tensor_env.observation_space, tensor_env.action_space)

    def reset(self) -> np.ndarray:
        """Start new episodes everywhere, the first ones of the seed if `seed` was called before."""
        seed, self._seed = self._seed, None
        self._reset_seeds()
        self._reset_options()
        return to_numpy(self.tensor_env.reset(seed))

    def step_async(self, actions: np.ndarray) -> None:
        """Take note of the actions.

        Raises:
            ValueError: If they aren't one of 0, 1, 2 for each environment.
        """
        self._actions = to_actions(actions, self.tensor_env)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; those whose episode ends start the next.

        Raises:
            RuntimeError: If there are no actions from `step_async`.
        """
        if self._actions is None:
            raise RuntimeError("step_wait needs the actions: call step_async before it, or step")
        step = self.tensor_env.step(self._actions)
        self._actions = None
        dones = to_numpy(step.terminated | step.truncated)
        infos = [self._nothing] * self.num_envs
        ended = np.flatnonzero(dones)
        if len(ended):
            rows = torch.from_numpy(ended).to(self.tensor_env.device)
            last, returns, lengths, successes, truncated = (
                to_numpy(values[rows])
                for values in (
                    step.final_obs,
                    step.episode_returns,
                    step.episode_lengths,
                    step.is_success,
                    step.truncated,
                )
            )
            said = self.tensor_env.task.info(step.final_places[:, rows])
            more = {name: to_numpy(values) for name, values in said.items()}
            for row, i in enumerate(ended.tolist()):
                infos[i] = self.ending(
                    float(returns[row]), int(lengths[row]), bool(successes[row]), last[row], bool(truncated[row])
                ) | {name: int(values[row]) for name, values in more.items()}
        return to_numpy(step.obs), to_numpy(step.rewards), dones, infos

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Let the next reset begin with this seed's first episodes; None draws a seed from NumPy's global state."""
        self._seed = self.drawn_seed() if seed is None else int(seed)
        return [self._seed] * self.num_envs

    def close(self) -> None:
        """Nothing to do."""

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """What `action_masks` of the batched environment says, for each index.

        Raises:
            AttributeError: For any other method, or if it has none.
        """
        masks_of = getattr(self.tensor_env, method_name, None) if method_name == "action_masks" else None
        if masks_of is None:
            return super().env_method(method_name, *args, indices=indices, **kwargs)
        masks = to_numpy(masks_of())
        return [masks[i] for i in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the batched environment, for each index. `render_mode` is None.

        Raises:
            AttributeError: If it has none of this name.
        """
        value = None if attr_name == "render_mode" else getattr(self.tensor_env, attr_name)
        return [value for _ in self._get_indices(indices)]
