"""Rollouts of environments that step on the host: observations go to the policy's device, actions come back."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor

from agents.action_masks import get_action_masks
from agents.actor import Actor, copy_from_host
from agents.captured import Machinery, captured
from agents.collection import Outcome, Position, RolloutStep
from agents.cores import Memory, mapped
from agents.finite import check_finite
from agents.memory_statistics import MemoryStatistics
from agents.policies import ExpireSpanActorCriticPolicy
from agents.rollout import SegmentRolloutBuffer


@runtime_checkable
class GroupedEnv(Protocol):
    """Environments in groups of which one can step while the policy acts in another: a `VecEnv` that has these, too."""

    group_slices: list[slice]
    """Which environments each group has: all of them, in order."""

    def send(self, group: int, actions: np.ndarray) -> None:
        """Begins a step of a group's environments, and doesn't wait for it.

        Args:
            group: its number.
            actions: an action for each of them, `(environments, *action)`, as the action space has them; to be left as
                they are.
        """
        ...

    def receive(self, group: int) -> VecEnvStepReturn:
        """Waits for the step that `send` began.

        Returns:
            As `VecEnv.step_wait`, of the group's environments alone: observations, rewards, dones and infos, in arrays
            that the group's next step doesn't write to.
        """
        ...


class HostRollout:
    """See `agents.collection.Rollout`. Nothing waits for the device but the actions that environments need.

    Environments in several groups (`GroupedEnv`) step while the policy acts in the others.

    Args:
        policy: who acts.
        buffer: to fill.
        statistics: of the memory.
        env: the environments.
        prepare: called before the policy acts in each step, with its number.
        machinery: how programs run.
    """

    def __init__(
        self,
        policy: ExpireSpanActorCriticPolicy,
        buffer: SegmentRolloutBuffer,
        statistics: MemoryStatistics,
        env: VecEnv,
        prepare: Callable[[int], None],
        machinery: Machinery,
    ) -> None:
        self.env, self.waited = env, 0.0
        self._buffer, self._policy, self._prepare = buffer, policy, prepare
        # gSDE has a noise matrix for each environment, in one go.
        grouped = None if policy.use_sde else grouped_env_of(env)
        slices = [slice(0, env.num_envs)] if grouped is None else grouped.group_slices
        self.groups = [Group(policy, buffer, statistics, rows, machinery) for rows in slices]
        self._ahead = len(self.groups) > 1
        self._rewards = np.zeros((buffer.n_steps, buffer.n_envs), dtype=np.float32)
        self._obs: Any = None
        self._starts = np.ones(buffer.n_envs, dtype=bool)
        self._stopping = self._in_flight = False

    def begin(self, position: Position) -> None:
        """Begins a rollout."""
        memory = position.memory
        assert memory is not None
        self._obs, self._starts = position.obs, position.starts
        self._stopping, self.waited = False, 0.0
        check_finite(position.obs, "observation", 0)
        for group in self.groups:
            rows = group.actor.rows
            group.actor.begin(mapped(itemgetter((slice(None), rows)), memory))
            group.actor.see(_rows(position.obs, rows), position.starts[rows])

    def steps(self) -> Iterator[RolloutStep]:
        """Steps once at each call of `next`; with several groups, the next step is under way then."""
        buffer = self._buffer
        if self._ahead:
            for number in range(len(self.groups)):
                self._act(number, 0)
        for step in range(buffer.n_steps):
            more = step + 1 < buffer.n_steps and not self._stopping
            received = [self._step(number, step, more) for number in range(len(self.groups))]
            observed, finished, told, sent = zip(*received, strict=True)
            self._obs, self._starts = _joined(observed), np.concatenate(finished)
            self._in_flight = self._ahead and more
            yield RolloutStep(
                self._obs,
                self._rewards[step].copy(),
                self._starts,
                list(chain.from_iterable(told)),
                buffer.actions[step],
                buffer.values[step],
                buffer.log_prob[step],
                _joined(sent),
            )
            if self._stopping and not self._in_flight:
                return

    def stop(self) -> None:
        """Lets no step begin any more; what is in flight comes with the next call of `next`."""
        self._stopping = True

    def position(self) -> Position:
        """Where the environments are; without memory while they are at a step, or when one of them has raised."""
        return Position(self._obs, self._starts, None if self._in_flight else self._memory())

    def outcome(self) -> Outcome:
        """The rewards of the rollout, and what is after it."""
        actors = [group.actor for group in self.groups]
        bootstraps = torch.cat([actor.bootstraps for actor in actors], dim=1)
        rewards = torch.from_numpy(self._rewards).to(bootstraps.device) + self._buffer.gamma * bootstraps
        values = torch.cat([actor.values(actor.obs, actor.starts) for actor in actors])
        return Outcome(rewards, values, torch.cat([actor.starts for actor in actors]))

    def _act(self, number: int, step: int) -> None:
        """Lets the policy act in a group, and its environments begin their step."""
        if number == 0:
            self._prepare(step)
        group = self.groups[number]
        group.actor.keep_memory(step)
        if group.actor.masks is not None:
            # Asked for here, where the group's environments wait for their actions.
            group.actor.allow(get_action_masks(self.env, range(self.env.num_envs)[group.actor.rows]))
        self._in_flight = True
        group.act()
        # A copy: on the CPU they would be the very tensor that the next step writes to.
        group.sent = self._policy.to_env_actions(group.actor.actions).copy()
        if self._ahead:
            assert isinstance(self.env, GroupedEnv)
            self.env.send(number, group.sent)
        else:
            self.env.step_async(group.sent)

    def _step(self, number: int, step: int, more: bool) -> tuple[Any, np.ndarray, Sequence[dict[str, Any]], np.ndarray]:
        """Finishes a group's step and, if there are `more` and groups run ahead, begins its next.

        Returns:
            Observations, dones and infos, and the actions that led there.
        """
        if not self._ahead:
            self._act(number, step)
        waiting = time.perf_counter()
        if self._ahead:
            assert isinstance(self.env, GroupedEnv)
            received = self.env.receive(number)
        else:
            received = self.env.step_wait()
        self.waited += time.perf_counter() - waiting
        obs, rewards, dones, infos = received
        group = self.groups[number]
        sent, first = group.sent, group.actor.rows.start
        check_finite(rewards, "reward", step + 1, first)
        check_finite(obs, "observation", step + 1, first)
        self._rewards[step, group.actor.rows] = rewards
        group.actor.see(obs, dones)
        group.bootstrap(dones, infos, step)
        if self._ahead and more:
            self._act(number, step + 1)
        return obs, dones, infos, sent

    def _memory(self) -> Memory:
        """The memory of all environments; of a single group its own tensors."""
        memories = [group.actor.state.cache.memory for group in self.groups]
        memory: Memory = memories[0]
        if len(memories) > 1:
            memory = mapped(lambda *parts: torch.cat(parts, dim=1), *memories)
        return memory


class Group:
    """The environments that step together, and the programs of the policy in them."""

    def __init__(
        self,
        policy: ExpireSpanActorCriticPolicy,
        buffer: SegmentRolloutBuffer,
        statistics: MemoryStatistics,
        rows: slice,
        machinery: Machinery,
    ) -> None:
        self.actor = Actor(policy, buffer, statistics, rows)
        self.act = captured(self.actor.act, self.actor.rewind, machinery)
        self.sent = np.zeros(0)
        """The last actions, as the environments take them."""
        self._bootstrap = self.actor.bootstrapping(machinery)

    def bootstrap(self, dones: np.ndarray, infos: Sequence[dict[str, Any]], step: int) -> None:
        """Lets the actor write the values of the step's final observations where a time limit cut episodes off."""
        cut = [
            i
            for i in np.flatnonzero(dones).tolist()
            if infos[i].get("TimeLimit.truncated") and "terminal_observation" in infos[i]
        ]
        if not cut:
            return
        # Of all rows, so that shapes don't depend on how many: a program, that the host doesn't wait for.
        flags = np.zeros(len(dones), dtype=bool)
        flags[cut] = True
        actor = self.actor
        copy_from_host(actor.cut, flags)
        final = _scattered(actor.final_obs, cut, [infos[i]["terminal_observation"] for i in cut])
        check_finite(final, "final observation", step + 1, actor.rows.start)
        copy_from_host(actor.final_obs, final)
        self._bootstrap()


def grouped_env_of(env: VecEnv) -> GroupedEnv | None:
    """The environments in groups, if they are that, and no wrapper wants to see their steps."""
    return env if isinstance(env, GroupedEnv) and not isinstance(env, VecEnvWrapper) else None


def _scattered(like: Tensor | dict[str, Tensor], rows: list[int], observations: list[Any]) -> Any:
    """Arrays like the tensors, with the observations in these rows and zeros elsewhere."""
    if isinstance(like, dict):
        return {key: _scattered(part, rows, [obs[key] for obs in observations]) for key, part in like.items()}
    stacked = np.asarray(observations)
    scattered = np.zeros((len(like), *stacked.shape[1:]), dtype=stacked.dtype)
    scattered[rows] = stacked
    return scattered


def _rows(obs: Any, rows: slice) -> Any:
    """The observations of some of the environments."""
    return {key: part[rows] for key, part in obs.items()} if isinstance(obs, dict) else obs[rows]


def _joined(observed: Sequence[Any]) -> Any:
    """The observations, or actions, of all groups as one array, in each entry of a dict."""
    if len(observed) == 1:
        return observed[0]
    if isinstance(observed[0], dict):
        return {key: np.concatenate([part[key] for part in observed]) for key in observed[0]}
    return np.concatenate(observed)
