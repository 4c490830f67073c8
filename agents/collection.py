"""How a rollout is collected: the policy acts, environments step, the buffer fills.

`Actor` is the step of the policy, for all or some of the environments; `TensorRollout` puts the environment's own step
after it, where that is tensors too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor
from torch.distributions import Distribution

from agents.captured import captured
from agents.memory_statistics import MemoryStatistics
from agents.policies import ExpireSpanActorCriticPolicy, PolicyState, Step
from agents.rollout import SegmentRolloutBuffer
from expire_span import Cache, Memory


@runtime_checkable
class Transition(Protocol):
    """What a step of environments that are tensors gives; where an episode ends, the next starts in the same step."""

    @property
    def obs(self) -> Tensor: ...
    @property
    def rewards(self) -> Float[Tensor, " n_envs"]: ...
    @property
    def terminated(self) -> Bool[Tensor, " n_envs"]: ...
    @property
    def truncated(self) -> Bool[Tensor, " n_envs"]: ...
    @property
    def final_obs(self) -> Tensor: ...
    @property
    def episode_returns(self) -> Float[Tensor, " n_envs"]: ...
    @property
    def episode_lengths(self) -> Int[Tensor, " n_envs"]: ...
    @property
    def is_success(self) -> Bool[Tensor, " n_envs"]: ...


@runtime_checkable
class TensorEnv(Protocol):
    """Environments that step as tensors on the policy's device, in place, without waiting for the host."""

    device: torch.device

    def step(self, actions: Tensor) -> Transition: ...
    def possible_truncations(self, n_steps: int) -> Bool[Tensor, " n_steps"]: ...
    def get_state(self) -> Any: ...
    def set_state(self, state: Any) -> None: ...


@runtime_checkable
class GroupedEnv(Protocol):
    """Environments in groups of which one can step while the policy acts in another."""

    group_slices: list[slice]

    def send(self, group: int, actions: np.ndarray) -> None: ...
    def receive(self, group: int) -> VecEnvStepReturn: ...


class Timings(NamedTuple):
    """Seconds since `learn` began, by what was waited for."""

    acting: float = 0.0
    env: float = 0.0
    """Waiting for environments; those that are tensors step within `acting`."""
    update: float = 0.0


class Episodes(NamedTuple):
    """The newest episodes that ended in a rollout, in order."""

    returns: Float[np.ndarray, " episodes"]
    lengths: Int[np.ndarray, " episodes"]
    successes: Bool[np.ndarray, " episodes"]


class Actor:
    """The policy in the environments `rows`, on tensors that stay where they are: so a captured graph can run it.

    Args:
        policy: who acts.
        act: its `step`, compiled or not.
        buffer: keeps what was seen and done.
        statistics: of the memory.
        rows: which of the buffer's environments.
    """

    def __init__(
        self,
        policy: ExpireSpanActorCriticPolicy,
        act: Callable[..., Step],
        buffer: SegmentRolloutBuffer,
        statistics: MemoryStatistics,
        rows: slice,
    ) -> None:
        self.policy, self.rows, self.buffer = policy, rows, buffer
        self._act, self._statistics = act, statistics
        self.obs: PyTorchObs = (
            {key: torch.zeros_like(part[0, rows]) for key, part in buffer.obs.items()}
            if isinstance(buffer.obs, dict)
            else torch.zeros_like(buffer.obs[0, rows])
        )
        self.starts = torch.ones_like(buffer.episode_starts[0, rows])
        self.actions = torch.zeros_like(buffer.actions[0, rows])
        self.index = torch.zeros(1, dtype=torch.long, device=policy.device)
        """Number of the rollout's step that comes next."""
        self.state: PolicyState = policy.initial_state(len(self.starts))

    @torch.no_grad()
    def begin(self, memory: Memory) -> None:
        """Begins a rollout with this memory, projected by the weights as they are now."""
        self.state = self.state._replace(version=self.policy.weights_version())
        for mine, now in zip(_tensors(self.state.cache), _tensors(self.policy.core.cache(memory)), strict=True):
            mine.copy_(now)
        self.rewind()

    def rewind(self) -> None:
        """Lets the next step be the rollout's first, of which nothing has been counted yet."""
        self.index.zero_()
        self._statistics.clear()

    def see(self, obs: Any, starts: Shaped[np.ndarray, " n_envs"]) -> None:
        """Takes observations and episode starts from the host."""
        if isinstance(self.obs, dict):
            for key, mine in self.obs.items():
                _copy_from_host(mine, obs[key])
        else:
            _copy_from_host(self.obs, obs)
        _copy_from_host(self.starts, starts.astype(bool))

    @torch.no_grad()
    def program(self) -> None:
        """Acts once: reads `obs` and `starts`; writes `actions`, the memory, the buffer; counts the step."""
        with unvalidated():
            step = self._act(self.obs, self.state.cache, self.starts)
        self.buffer.store(self.index, self.obs, self.starts, step.actions, step.values, step.log_prob, self.rows)
        self._statistics.add(self.index, step.core, self.rows)
        self.state.cache.write_(step.core.write)
        self.actions.copy_(step.actions.reshape(self.actions.shape))
        self.index.add_(1)

    @torch.no_grad()
    def values(self, obs: PyTorchObs, starts: Bool[Tensor, " n_envs"]) -> Float[Tensor, " n_envs"]:
        """Values of observations that would come next; nothing is written."""
        with unvalidated():
            return self.policy.predict_values(obs, self.state, starts)


class TensorRollout:
    """Rollouts of environments that are tensors: acting and stepping are one program, on CUDA one captured graph.

    Nothing waits for the host between a rollout's first step and its last. Where a time limit may cut off an episode,
    a second program also asks for the value of the final observation; at which steps that is, is read beforehand.

    Args:
        actor: of all the environments.
        env: the environments, on the policy's device.
        gamma: discount.
        graphs: capture CUDA graphs.
    """

    def __init__(self, actor: Actor, env: TensorEnv, gamma: float, graphs: bool) -> None:
        self.actor, self.env, self._gamma = actor, env, gamma
        device, shape = actor.policy.device, actor.buffer.values.shape
        self.rewards = torch.zeros(shape, device=device)
        """(n_steps, n_envs), with the bootstrapped value of a truncated episode's end in."""
        self.ended = torch.zeros(shape, dtype=torch.bool, device=device)
        self._successes = torch.zeros(shape, dtype=torch.bool, device=device)
        self._returns = torch.zeros(shape, dtype=torch.float64, device=device)
        self._lengths = torch.zeros(shape, dtype=torch.long, device=device)
        before = env.get_state()
        self._plain, self._bootstrapping = (
            captured(partial(self._program, bootstrap), actor.rewind, graphs) for bootstrap in (False, True)
        )
        env.set_state(before)

    def run(self) -> Iterator[None]:
        """Steps once at each call of `next`, `n_steps` times."""
        n_steps = len(self.rewards)
        for step, bootstrap in enumerate(self.env.possible_truncations(n_steps).tolist()):
            self.actor.buffer.store_memory(step, self.actor.state.cache.memory)
            (self._bootstrapping if bootstrap else self._plain)()
            yield

    @torch.no_grad()
    def _program(self, bootstrap: bool) -> None:
        actor, index = self.actor, self.actor.index.clone()
        actor.program()
        step = self.env.step(actor.actions)
        rewards, ended = step.rewards, step.terminated | step.truncated
        if bootstrap:
            values = actor.values(step.final_obs, torch.zeros_like(ended))
            rewards = rewards + self._gamma * values.masked_fill(~step.truncated, 0)
        for buffer, new in (
            (self.rewards, rewards),
            (self.ended, ended),
            (self._successes, step.is_success),
            (self._returns, step.episode_returns),
            (self._lengths, step.episode_lengths),
        ):
            buffer.index_copy_(0, index, new[None].to(buffer.dtype))
        assert isinstance(actor.obs, Tensor)
        actor.obs.copy_(step.obs)
        actor.starts.copy_(ended)

    def episodes(self, most: int) -> Episodes:
        """The newest episodes of the rollout, `most` of them at most."""
        ended = self.ended.flatten().nonzero().squeeze(-1)[-most:]
        return Episodes(
            *(part.flatten()[ended].cpu().numpy() for part in (self._returns, self._lengths, self._successes))
        )


def groups_of(env: VecEnv) -> Sequence[slice]:
    """Which environments can be stepped apart from the others: `env.group_slices`, or all of them in one."""
    if isinstance(env, GroupedEnv) and not isinstance(env, VecEnvWrapper):
        return env.group_slices
    return [slice(0, env.num_envs)]


def tensor_env_of(env: VecEnv, device: torch.device) -> TensorEnv | None:
    """The environments as tensors, if they are that, on this device, and no wrapper wants to see their steps."""
    tensor_env: TensorEnv | None = None if isinstance(env, VecEnvWrapper) else getattr(env, "tensor_env", None)
    return tensor_env if tensor_env is not None and tensor_env.device.type == device.type else None


@contextmanager
def unvalidated() -> Iterator[None]:
    """Within this block `torch.distributions` doesn't check its arguments, for which it would wait for the device."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def _tensors(cache: Cache) -> tuple[Tensor, ...]:
    return (*cache.memory, *cache[1:])


def _copy_from_host(target: Tensor, source: np.ndarray) -> None:
    """Copies, to CUDA through pinned memory, so that the host needn't wait."""
    tensor = torch.from_numpy(np.ascontiguousarray(source)).reshape(target.shape)
    if target.is_cuda:
        tensor = tensor.pin_memory()
    target.copy_(tensor, non_blocking=True)
