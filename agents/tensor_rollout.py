"""Rollouts of environments that are tensors: acting and stepping are one program on the policy's device."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor

from agents.action_masks import check_possible
from agents.actor import Actor
from agents.captured import Machinery, captured
from agents.collection import Episodes, Outcome, Position, RolloutStep
from agents.finite import check_finite
from agents.memory_statistics import MemoryStatistics
from agents.policies import ExpireSpanActorCriticPolicy
from agents.rollout import SegmentRolloutBuffer


@runtime_checkable
class Transition(Protocol):
    """What a step of environments that are tensors gives, on their device, an entry for each environment. Where an
    episode ends, the next one starts in the same step."""

    @property
    def obs(self) -> Shaped[Tensor, " n_envs *obs"]:
        """What the policy sees next: where an episode ended, after the reset. As the observation space has them; a
        dictionary can't be one."""
        ...

    @property
    def rewards(self) -> Float[Tensor, " n_envs"]:
        """Of the step, that of the episode's end included."""
        ...

    @property
    def terminated(self) -> Bool[Tensor, " n_envs"]:
        """Where an episode came to its end."""
        ...

    @property
    def truncated(self) -> Bool[Tensor, " n_envs"]:
        """Where a time limit cut one off, never where it `terminated`: what might still have come is estimated."""
        ...

    @property
    def final_obs(self) -> Shaped[Tensor, " n_envs *obs"]:
        """As `obs`, but before the reset; of account only where an episode was cut off."""
        ...

    @property
    def episode_returns(self) -> Float[Tensor, " n_envs"]:
        """Sum of the rewards of the step's episode, this one included; of account only where it ended."""
        ...

    @property
    def episode_lengths(self) -> Int[Tensor, " n_envs"]:
        """Steps of the step's episode, this one included; of account only where it ended."""
        ...

    @property
    def is_success(self) -> Bool[Tensor, " n_envs"]:
        """Whether the step's episode was a success; of account only where it ended."""
        ...


@runtime_checkable
class TensorState(Protocol):
    """All that changes in environments: a `NamedTuple` of tensors, of shapes that stay the same."""

    def _asdict(self) -> dict[str, Tensor]: ...


@runtime_checkable
class TensorEnv(Protocol):
    """Environments that step as tensors on the policy's device, in place, without waiting for the host.

    `ExpireSpanPPO` finds them as the attribute `tensor_env` of the `VecEnv` that it is given, which resets them.
    """

    device: torch.device
    """Where all tensors are; on another than the policy's the `VecEnv` steps instead."""

    @property
    def identity(self) -> str:
        """Says which task this is, with which arguments: a saved state is taken only where it is the same."""
        ...

    def step(self, actions: Tensor) -> Transition:
        """A step of all environments.

        It is captured in a CUDA graph or compiled: no shape may depend on data, nothing may wait for the host, and the
        state must change in the very tensors that it lies in.

        Args:
            actions: on the device, `(n_envs, *action)` as the action space has them: whole numbers for choices; within
                the bounds of a Box.
        """
        ...

    def possible_truncations(self, n_steps: int) -> Bool[Tensor, " n_steps"]:
        """Whether an episode may be cut off in each of the next steps, whatever the actions; on any device.

        True where none is only costs time. False where one is would leave out what might still have come: never that.
        """
        ...

    def get_state(self) -> TensorState:
        """A copy of all that changes, random numbers to come included; a training is saved with it."""
        ...

    def set_state(self, state: Any) -> None:
        """Goes on from what `get_state` gave, here or in environments of the same `identity`; on any device."""
        ...


@runtime_checkable
class MaskedTensorEnv(Protocol):
    """Environments that also say which actions may be taken now, see `agents.action_masks`."""

    def action_masks(self) -> Bool[Tensor, "n_envs choices"]:
        """True where a choice may be made in the next step, on the device; captured and compiled as `step` is."""
        ...


class TensorRollout:
    """See `agents.collection.Rollout`. Nothing waits for the host between a rollout's first step and its last, of
    which all are then told one after the other.

    Where a time limit may cut off an episode, a second program also asks for the value of the final observation; at
    which steps that is, is read beforehand.

    Args:
        policy: who acts.
        buffer: to fill.
        statistics: of the memory.
        env: the environments, on the policy's device.
        newest: so many of a rollout's episodes are told, the newest.
        prepare: called before the policy acts in each step, with its number.
        machinery: how programs run.
    """

    def __init__(
        self,
        policy: ExpireSpanActorCriticPolicy,
        buffer: SegmentRolloutBuffer,
        statistics: MemoryStatistics,
        env: TensorEnv,
        newest: int,
        prepare: Callable[[int], None],
        machinery: Machinery,
    ) -> None:
        self.env, self.waited = env, 0.0
        self._policy, self._prepare = policy, prepare
        self._actor = Actor(policy, buffer, statistics, slice(0, buffer.n_envs))
        self._buffer, self._newest, self._stopping, self._done = buffer, newest, False, False
        self._rewards = torch.zeros_like(buffer.values)
        self._ended = torch.zeros_like(buffer.episode_starts)
        self._successes = torch.zeros_like(self._ended)
        self._returns = torch.zeros_like(self._rewards, dtype=torch.float64)
        self._lengths = torch.zeros_like(self._rewards, dtype=torch.long)
        self._masks: Callable[[], Tensor] | None = None
        if buffer.action_masks is not None:
            assert isinstance(env, MaskedTensorEnv)
            self._masks = env.action_masks
        before = env.get_state()
        self._step = captured(self._program, self._actor.rewind, machinery)
        env.set_state(before)
        self._bootstrap = self._actor.bootstrapping(machinery)

    def begin(self, position: Position) -> None:
        """Begins a rollout."""
        assert position.memory is not None
        self._actor.begin(position.memory)
        self._actor.see(position.obs, position.starts)
        self._stopping = self._done = False

    def steps(self) -> Iterator[RolloutStep]:
        """Tells of a step at each call of `next`; the first call does them all, and waits for the device."""
        buffer, n_steps = self._buffer, self._buffer.n_steps
        for step, may_cut_off in enumerate(self.env.possible_truncations(n_steps).tolist()):
            self._prepare(step)
            self._actor.keep_memory(step)
            self._step()
            if may_cut_off:
                self._bootstrap()
        self._done = True
        # Copies: a callback may keep them, and on the CPU the next rollout writes to the very tensors.
        rewards, ended = (part.to("cpu", copy=True).numpy() for part in (self._rewards, self._ended))
        if not np.isfinite(rewards).all():
            for step in range(n_steps):
                check_finite(rewards[step], "reward", step + 1)
        if buffer.action_masks is not None:
            check_possible(buffer.action_masks, buffer.action_space)
        newest = np.flatnonzero(ended)[-self._newest :]
        told = self._episodes(newest)
        # Where each step's begin among them, and the last one's end.
        bounds = np.searchsorted(newest, buffer.n_envs * np.arange(n_steps + 1))
        infos: list[dict[str, Any]] = [{}] * buffer.n_envs
        for step in range(n_steps):
            if self._stopping:
                return
            kept = buffer.actions[step], buffer.values[step], buffer.log_prob[step]
            episodes = Episodes(*(part[bounds[step] : bounds[step + 1]] for part in told))
            yield RolloutStep(None, rewards[step], ended[step], infos, *kept, episodes=episodes)

    def stop(self) -> None:
        """Tells of no more steps: all are done."""
        self._stopping = True

    def position(self) -> Position:
        """Where the environments are; without memory if a step was broken off. Waits for the device."""
        obs = self._actor.obs
        assert isinstance(obs, Tensor)
        # Copies, on the CPU too, where they would be the very tensors that the next step writes to.
        memory = self._actor.state.cache.memory if self._done else None
        return Position(obs.cpu().numpy().copy(), self._actor.starts.cpu().numpy().copy(), memory)

    def outcome(self) -> Outcome:
        """The rewards of the rollout, and what is after it."""
        actor = self._actor
        rewards = self._rewards + self._buffer.gamma * actor.bootstraps
        return Outcome(rewards, actor.values(actor.obs, actor.starts), actor.starts)

    @torch.no_grad()
    def _program(self) -> None:
        actor, index = self._actor, self._actor.index.clone()
        if self._masks is not None:
            assert actor.masks is not None
            actor.masks.copy_(self._masks())
        actor.act()
        step = self.env.step(self._policy.env_actions(actor.actions))
        ended = step.terminated | step.truncated
        for kept, new in (
            (self._rewards, step.rewards),
            (self._ended, ended),
            (self._successes, step.is_success),
            (self._returns, step.episode_returns),
            (self._lengths, step.episode_lengths),
        ):
            kept.index_copy_(0, index, new[None].to(kept.dtype))
        assert isinstance(actor.obs, Tensor)
        assert isinstance(actor.final_obs, Tensor)
        for read, new in (
            (actor.obs, step.obs),
            (actor.starts, ended),
            (actor.final_obs, step.final_obs),
            (actor.cut, step.truncated),
        ):
            read.copy_(new)

    def _episodes(self, ended: Int[np.ndarray, " episodes"]) -> Episodes:
        """Those that ended at these places, `step * n_envs + environment`: of all others nothing leaves the device."""
        places = torch.from_numpy(ended).to(self._ended.device)
        return Episodes(
            *(part.flatten()[places].cpu().numpy() for part in (self._returns, self._lengths, self._successes))
        )


def tensor_env_of(env: VecEnv, device: torch.device) -> TensorEnv | None:
    """The environments as tensors, if they are that, on this device, and no wrapper wants to see their steps."""
    tensor_env: TensorEnv | None = None if isinstance(env, VecEnvWrapper) else getattr(env, "tensor_env", None)
    return tensor_env if tensor_env is not None and _numbered(tensor_env.device) == _numbered(device) else None


def _numbered(device: torch.device) -> tuple[str, int]:
    """A device's kind and number, that of the current one where it has none."""
    current = torch.cuda.current_device() if device.type == "cuda" else 0
    return device.type, current if device.index is None else device.index
