"""What a rollout collects, on the policy's device: written step by step, read in whole segments."""

import warnings
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float, Int, Shaped
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from agents.action_masks import choices_of
from agents.cores import Memory, MemoryCore, mapped
from agents.cores.sizes import check_whole


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
    action_masks: Bool[Tensor, "b t choices"] | None
    """None where there were none."""


class SegmentRolloutBuffer:
    """A rollout of `n_steps` in each of `n_envs` environments, cut into segments of `segment_length` steps.

    Every tensor lies on `device`, in the shape `(n_steps, n_envs, ...)`, and stays where it is, so that a captured
    CUDA graph can write into it. The memory is stored once a segment, not once a step.

    Args:
        n_steps, n_envs, segment_length: sizes.
        observation_space, action_space: what is kept of each step.
        core: whose memory.
        device: of the tensors.
        gamma, gae_lambda: of the advantages.
    """

    def __init__(
        self,
        n_steps: int,
        n_envs: int,
        segment_length: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        core: MemoryCore,
        device: torch.device,
        gamma: float,
        gae_lambda: float,
    ) -> None:
        self.n_steps, self.n_envs, self.segment_length = n_steps, n_envs, segment_length
        self.gamma, self.gae_lambda = gamma, gae_lambda
        self.n_segments = n_steps // segment_length
        lead = (n_steps, n_envs)

        def zeros(shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(lead + shape, dtype=dtype, device=device)

        def obs_zeros(space: spaces.Space[Any]) -> Tensor:
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
        self.memory: Memory = mapped(
            lambda part: part.new_zeros((self.n_segments, *part.shape)), core.empty_memory(n_envs)
        )
        """The memory's tensors, each (n_segments, layers, n_envs, ...): one copy a segment."""
        self.action_masks: Bool[Tensor, "n_steps n_envs choices"] | None = None
        """None where there are none, see `keep_masks`."""
        self.action_space = action_space

    def keep_masks(self, masks: bool) -> bool:
        """Makes room for action masks, or does without; whether that is a change, and programs are to be made anew."""
        if masks == (self.action_masks is not None):
            return False
        choices = sum(choices_of(self.action_space)) if masks else 0
        self.action_masks = self.episode_starts.new_zeros((self.n_steps, self.n_envs, choices)) if masks else None
        return True

    def store_memory(self, step: int, memory: Memory, rows: slice = slice(None)) -> None:
        """Keeps a copy of the memory of the environments `rows` before `step`, where a segment begins."""
        segment, within = divmod(step, self.segment_length)
        if within == 0:
            for kept, now in zip(self.memory, memory, strict=True):
                kept[segment, :, rows].copy_(now)

    def store(
        self,
        index: Int[Tensor, " 1"],
        obs: PyTorchObs,
        episode_starts: Bool[Tensor, " n_envs"],
        actions: Shaped[Tensor, " n_envs *action"],
        values: Float[Tensor, " n_envs"],
        log_prob: Float[Tensor, " n_envs"],
        rows: slice = slice(None),
        action_masks: Bool[Tensor, "n_envs choices"] | None = None,
    ) -> None:
        """Keeps what the environments `rows` saw and did at a step; `index` is its number, on the device."""

        def put(buffer: Tensor, new: Tensor) -> None:
            target = buffer[:, rows]
            # SB3 counts a Discrete observation as a vector of one.
            target.index_copy_(0, index, new.reshape(1, *target.shape[1:]).to(target.dtype))

        if isinstance(self.obs, dict):
            assert isinstance(obs, dict)
            for key, buffer in self.obs.items():
                put(buffer, obs[key])
        else:
            assert isinstance(obs, Tensor)
            put(self.obs, obs)
        put(self.episode_starts, episode_starts)
        put(self.actions, actions)
        put(self.values, values)
        put(self.log_prob, log_prob)
        if self.action_masks is not None:
            assert action_masks is not None
            put(self.action_masks, action_masks)

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
        next_values = torch.cat((self.values[1:], last_values[None]))
        goes_on = 1 - torch.cat((self.episode_starts[1:], last_dones[None])).float()
        delta = rewards + self.gamma * next_values * goes_on - self.values
        self.advantages.copy_(discounted_sums(delta, self.gamma * self.gae_lambda * goes_on))
        torch.add(self.advantages, self.values, out=self.returns)

    def shuffled(self, segments: int) -> tuple[Int[Tensor, " segments"], ...]:
        """The numbers of all segments in random order, so many at a time (the last time those that are left)."""
        every = torch.randperm(self.n_segments * self.n_envs, device=self.values.device)
        return torch.split(every, segments)

    def minibatch(self, rows: Int[Tensor, " b"]) -> Minibatch:
        """The segments of these numbers, `segment * n_envs + environment`."""
        segment, env = rows // self.n_envs, rows % self.n_envs

        def rows_of(tensor: Shaped[Tensor, "n_steps n_envs *rest"]) -> Shaped[Tensor, "b t *rest"]:
            chosen: Tensor = tensor.unflatten(0, (self.n_segments, self.segment_length))[segment, :, env]
            return chosen

        obs = self.obs
        return Minibatch(
            obs={key: rows_of(part) for key, part in obs.items()} if isinstance(obs, dict) else rows_of(obs),
            actions=rows_of(self.actions),
            episode_starts=rows_of(self.episode_starts),
            memory=mapped(lambda part: part[segment, :, env].transpose(0, 1), self.memory),
            old_values=rows_of(self.values),
            old_log_prob=rows_of(self.log_prob),
            advantages=rows_of(self.advantages),
            returns=rows_of(self.returns),
            action_masks=None if self.action_masks is None else rows_of(self.action_masks),
        )


def fit_segments(n_steps: int, n_envs: int, batch_size: int, n_epochs: int, segment_length: int | None) -> int:
    """The length of a segment; arguments as `ExpireSpanPPO`. Warns where minibatches aren't of `batch_size`.

    Raises:
        ValueError: for sizes that aren't whole numbers, or a length that doesn't divide `n_steps`.
    """
    for name, size in (("n_steps", n_steps), ("batch_size", batch_size), ("n_epochs", n_epochs)):
        check_whole(name, size)
    length = segment_length
    if length is None:
        length = max(n for n in range(1, min(n_steps, 64) + 1) if n_steps % n == 0)
        if length < min(16, n_steps):
            warnings.warn(
                f"n_steps={n_steps} can only be cut into segments of {length} steps, too short to learn "
                f"from; take a multiple of 32 or 64",
                stacklevel=5,
            )
    elif not isinstance(length, Integral) or isinstance(length, bool) or length < 1 or n_steps % length:
        divisors = [n for n in range(1, min(n_steps, 1024) + 1) if n_steps % n == 0]
        raise ValueError(f"segment_length={length} doesn't divide n_steps={n_steps}; it can be one of {divisors}")
    length = int(length)
    available = n_steps * n_envs // length
    segments = segments_of(batch_size, length, available)
    if segments * length != batch_size and segments < available:
        warnings.warn(
            f"batch_size={batch_size} is rounded to {segments * length}: {segments} whole segment(s) of "
            f"{length} steps, of {available} in a rollout",
            stacklevel=5,
        )
    return length


def segments_of(batch_size: int, length: int, available: int) -> int:
    """How many segments of this length a minibatch has, of so many. Raises as `fit_segments`."""
    check_whole("batch_size", batch_size)
    return min(max(1, round(batch_size / length)), available)


def discounted_sums(
    terms: Float[Tensor, "n_steps n_envs"], discounts: Float[Tensor, "n_steps n_envs"]
) -> Float[Tensor, "n_steps n_envs"]:
    """y_t = terms_t + discounts_t * y_{t+1}, y_{n_steps} = 0, in log2(n_steps) passes over all steps.

    A pass doubles the number of steps that each y looks ahead (Hillis and Steele 1986, "Data parallel algorithms").
    """
    sums, factors, ahead = terms, discounts, 1
    while ahead < len(terms):
        end = len(terms) - ahead
        sums = torch.cat((sums[:end] + factors[:end] * sums[ahead:], sums[end:]))
        factors = torch.cat((factors[:end] * factors[ahead:], factors[end:] * 0))
        ahead *= 2
    return sums


def _torch_dtype(space: spaces.Space[Any]) -> torch.dtype:
    """The type that a space's elements are kept in: small ones stay small, floats are float32."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return torch.long
    if space.dtype == np.uint8:
        return torch.uint8
    return torch.float32
