"""The policy's step in some of the environments, with all that a rollout keeps of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from agents.captured import Machinery, captured
from agents.cores import Memory, tensors_of
from agents.memory_statistics import MemoryStatistics
from agents.policies import ExpireSpanActorCriticPolicy, PolicyState
from agents.rollout import SegmentRolloutBuffer


class Actor:
    """The policy in the environments `rows`, on tensors that stay where they are: so a captured graph can run it.

    `act` and `bootstrap` read and write tensors only, so that they can be compiled whole.

    Args:
        policy: who acts.
        buffer: keeps what was seen and done.
        statistics: of the memory.
        rows: which of the buffer's environments.
    """

    def __init__(
        self,
        policy: ExpireSpanActorCriticPolicy,
        buffer: SegmentRolloutBuffer,
        statistics: MemoryStatistics,
        rows: slice,
    ) -> None:
        self.policy, self.buffer, self.rows = policy, buffer, rows
        self._statistics = statistics
        self.obs = self._empty_obs()
        self.starts = torch.ones_like(buffer.episode_starts[0, rows])
        self.masks = None if buffer.action_masks is None else torch.ones_like(buffer.action_masks[0, rows])
        """What may be done in the step to come; None where the buffer keeps no masks."""
        self.actions = torch.zeros_like(buffer.actions[0, rows])
        self.index = torch.zeros(1, dtype=torch.long, device=policy.device)
        """Number of the rollout's step that comes next."""
        self.bootstraps = torch.zeros_like(buffer.values[:, rows])
        """(n_steps, n_envs): the value of an episode's final observation where a step's time limit cut it off."""
        self.final_obs, self.cut = self._empty_obs(), torch.zeros_like(self.starts)
        """What `bootstrap` reads: final observations, and where they are of an episode cut off."""
        self.state: PolicyState = policy.initial_state(len(self.starts))

    def _empty_obs(self) -> PyTorchObs:
        """Room for an observation of each environment."""
        obs = self.buffer.obs
        if isinstance(obs, dict):
            return {key: torch.zeros_like(part[0, self.rows]) for key, part in obs.items()}
        return torch.zeros_like(obs[0, self.rows])

    @torch.no_grad()
    def begin(self, memory: Memory) -> None:
        """Begins a rollout with this memory, projected by the weights as they are now."""
        self.state = self.state._replace(version=self.policy.weights_version())
        for mine, now in zip(tensors_of(self.state.cache), tensors_of(self.policy.core.cache(memory)), strict=True):
            mine.copy_(now)
        self.bootstraps.zero_()
        self.rewind()

    def rewind(self, step: int = 0) -> None:
        """Lets this be the rollout's next step, of which nothing has been counted yet."""
        self.index.fill_(step)
        self._statistics.clear()

    def see(self, obs: Any, starts: Shaped[np.ndarray, " n_envs"]) -> None:
        """Takes observations and episode starts from the host."""
        copy_from_host(self.obs, obs)
        copy_from_host(self.starts, starts.astype(bool))

    def allow(self, masks: Bool[np.ndarray, "n_envs choices"]) -> None:
        """Takes the masks of the step to come from the host."""
        assert self.masks is not None
        copy_from_host(self.masks, masks)

    def keep_memory(self, step: int) -> None:
        """Lets the buffer keep the memory before `step`, if a segment begins there."""
        self.buffer.store_memory(step, self.state.cache.memory, self.rows)

    @torch.no_grad()
    def act(self) -> None:
        """Acts once: reads `obs`, `starts`, `masks`; writes `actions`, the memory, the buffer; counts the step."""
        step = self.policy.step(self.obs, self.state.cache, self.starts, action_masks=self.masks)
        self.buffer.store(
            self.index, self.obs, self.starts, step.actions, step.values, step.log_prob, self.rows, self.masks
        )
        self._statistics.add(self.index, step.core, self.rows)
        self.state.cache.write_(step.core.write)
        self.actions.copy_(step.actions.reshape(self.actions.shape))
        self.index.add_(1)

    @torch.no_grad()
    def bootstrap(self) -> None:
        """Writes `bootstraps` of the step just acted from `final_obs`, where they are `cut`.

        A final observation is seen with the memory of its episode, as the next step would have seen it.
        """
        values = self.values(self.final_obs, torch.zeros_like(self.cut))
        self.bootstraps.index_copy_(0, self.index - 1, values.masked_fill(~self.cut, 0)[None])

    def bootstrapping(self, machinery: Machinery) -> Callable[[], None]:
        """`bootstrap` as a program, compiled and captured by now: the first use may come after many rollouts."""
        self.rewind(1)
        run = captured(self.bootstrap, lambda: None, machinery)
        run()
        self.rewind()
        return run

    @torch.no_grad()
    def values(self, obs: PyTorchObs, starts: Bool[Tensor, " n_envs"]) -> Float[Tensor, " n_envs"]:
        """Values of observations that would come next; nothing is written."""
        return self.policy.values(obs, self.state.cache, starts)


def copy_from_host(target: PyTorchObs, source: Any) -> None:
    """Copies an array, or a dictionary of them; to CUDA through pinned memory, so that the host needn't wait."""
    if isinstance(target, dict):
        for key, part in target.items():
            copy_from_host(part, source[key])
        return
    tensor = torch.from_numpy(np.ascontiguousarray(source)).reshape(target.shape)
    if target.is_cuda:
        tensor = tensor.pin_memory()
    target.copy_(tensor, non_blocking=True)
