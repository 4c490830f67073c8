"""What a rollout collects, on the policy's device, laid out as the segments it is trained in."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float, Shaped
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from expire_span import ExpireSpanCore, Memory


class Minibatch(NamedTuple):
    """Whole segments of experience; letters: b segments, t steps of each."""

    obs: PyTorchObs
    actions: Shaped[Tensor, "b t *action"]
    episode_starts: Bool[Tensor, "b t"]
    memory: Memory
    """As it was when each segment began."""
    old_values: Float[Tensor, "b t"]
    old_log_prob: Float[Tensor, "b t"]
    advantages: Float[Tensor, "b t"]
    returns: Float[Tensor, "b t"]


class SegmentRolloutBuffer:
    """A rollout of `n_steps` in each of `n_envs` environments, cut into segments of `segment_length` steps.

    Every tensor lies on `device` in the shape `(n_segments, n_envs, segment_length, ...)`, so that a segment is
    one contiguous row and a minibatch one indexing. The memory is stored once a segment, not once a step.
    """

    def __init__(
        self,
        n_steps: int,
        n_envs: int,
        segment_length: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        core: ExpireSpanCore,
        device: torch.device,
        gamma: float,
        gae_lambda: float,
    ) -> None:
        self.n_steps, self.n_envs, self.segment_length = n_steps, n_envs, segment_length
        self.gamma, self.gae_lambda = gamma, gae_lambda
        self.n_segments = n_steps // segment_length
        lead = (self.n_segments, n_envs, segment_length)

        def zeros(shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(lead + shape, dtype=dtype, device=device)

        def obs_zeros(space: spaces.Space) -> Tensor:
            shape = get_obs_shape(space)
            assert isinstance(shape, tuple)
            return zeros(shape, _torch_dtype(space))

        self.obs: Tensor | dict[str, Tensor]
        if isinstance(observation_space, spaces.Dict):
            self.obs = {key: obs_zeros(space) for key, space in observation_space.spaces.items()}
        else:
            self.obs = obs_zeros(observation_space)
        # As the action distribution has them: a Box's actions as vectors, whatever its shape.
        action_shape = (get_action_dim(action_space),) if isinstance(action_space, spaces.Box) else action_space.shape
        assert action_shape is not None
        self.actions = zeros(action_shape, _torch_dtype(action_space))
        self.episode_starts = zeros(dtype=torch.bool)
        self.values, self.log_prob = zeros(), zeros()
        self.advantages, self.returns = zeros(), zeros()
        memory = core.empty_memory(n_envs)
        # (n_segments, layers, n_envs, slots, ...): one copy a segment.
        self.mems = memory.mems.new_zeros((self.n_segments, *memory.mems.shape))
        self.elapsed_times = memory.elapsed_times.new_zeros((self.n_segments, *memory.elapsed_times.shape))

    def store_memory(self, step: int, memory: Memory) -> None:
        """Keeps a copy of the memory before `step`, where a segment begins; elsewhere does nothing."""
        segment, within = divmod(step, self.segment_length)
        if within == 0:
            self.mems[segment].copy_(memory.mems)
            self.elapsed_times[segment].copy_(memory.elapsed_times)

    def store(
        self,
        step: int,
        obs: PyTorchObs,
        episode_starts: Bool[Tensor, " n_envs"],
        actions: Shaped[Tensor, " n_envs *action"],
        values: Float[Tensor, " n_envs"],
        log_prob: Float[Tensor, " n_envs"],
    ) -> None:
        """Keeps what was seen and done at `step`."""
        segment, within = divmod(step, self.segment_length)
        if isinstance(self.obs, dict):
            assert isinstance(obs, dict)
            for key, buffer in self.obs.items():
                buffer[segment, :, within] = obs[key].reshape(self.n_envs, *buffer.shape[3:])
        else:
            assert isinstance(obs, Tensor)
            # SB3 counts a Discrete observation as a vector of one.
            self.obs[segment, :, within] = obs.reshape(self.n_envs, *self.obs.shape[3:])
        self.episode_starts[segment, :, within] = episode_starts
        self.actions[segment, :, within] = actions
        self.values[segment, :, within] = values
        self.log_prob[segment, :, within] = log_prob

    @torch.no_grad()
    def compute_returns_and_advantage(
        self,
        rewards: Float[Tensor, "n_steps n_envs"],
        last_values: Float[Tensor, " n_envs"],
        last_dones: Bool[Tensor, " n_envs"],
    ) -> None:
        """Generalised advantage estimation, Schulman et al. 2016, arXiv 1506.02438, equation 16.

        advantage_t = delta_t + gamma * lambda * advantage_{t+1}, delta_t = r_t + gamma * v_{t+1} - v_t, both cut off
        where step t + 1 begins an episode; returns are advantages + values.

        Args:
            rewards: r_t, with the bootstrapped value of a truncated episode's end already in.
            last_values: value of the observation after the last step.
            last_dones: whether the last step ended an episode.
        """
        values, starts = self._by_step(self.values), self._by_step(self.episode_starts)
        next_values = torch.cat((values[1:], last_values[None]))
        goes_on = 1 - torch.cat((starts[1:], last_dones[None])).float()
        delta = rewards + self.gamma * next_values * goes_on - values
        discount = self.gamma * self.gae_lambda * goes_on
        advantage, advantages = torch.zeros_like(last_values), torch.empty_like(delta)
        for step in range(self.n_steps - 1, -1, -1):
            advantage = delta[step] + discount[step] * advantage
            advantages[step] = advantage
        self.advantages = self._by_segment(advantages)
        self.returns = self.advantages + self.values

    def minibatches(self, segments: int) -> Iterator[Minibatch]:
        """Every segment once, in random order, so many at a time (the last time those that are left)."""
        order = torch.randperm(self.n_segments * self.n_envs, device=self.values.device)
        for rows in order.split(segments):
            segment, env = rows // self.n_envs, rows % self.n_envs
            yield Minibatch(
                {key: part[segment, env] for key, part in self.obs.items()}
                if isinstance(self.obs, dict)
                else self.obs[segment, env],
                self.actions[segment, env],
                self.episode_starts[segment, env],
                Memory(self.mems[segment, :, env].transpose(0, 1), self.elapsed_times[segment, :, env].transpose(0, 1)),
                self.values[segment, env],
                self.log_prob[segment, env],
                self.advantages[segment, env],
                self.returns[segment, env],
            )

    def _by_step(self, tensor: Shaped[Tensor, "segments n_envs steps"]) -> Shaped[Tensor, "n_steps n_envs"]:
        return tensor.transpose(1, 2).reshape(self.n_steps, self.n_envs)

    def _by_segment(self, tensor: Shaped[Tensor, "n_steps n_envs"]) -> Shaped[Tensor, "segments n_envs steps"]:
        return tensor.reshape(self.n_segments, self.segment_length, self.n_envs).transpose(1, 2).contiguous()


def _torch_dtype(space: spaces.Space) -> torch.dtype:
    """The type that a space's elements are kept in: small ones stay small, floats are float32."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return torch.long
    if space.dtype == np.uint8:
        return torch.uint8
    return torch.float32
