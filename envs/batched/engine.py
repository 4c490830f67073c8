"""The one stepping engine of all batched environments: a few integers an environment, tables, tensor arithmetic.

Letters in shapes: n = n_envs, v = side of the view, fields = integers that make a place (direction and the
level's variables among them).
"""

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float, Int, Int64, UInt8
from torch import Tensor

from envs.batched.counter_random import NEXT_EPISODE, stream_keys
from envs.batched.tables import N_ACTIONS, NONE, SUCCESS, Tables
from envs.wrappers import MAX_CODE


class Transition(NamedTuple):
    """What a step gives. An environment whose episode ends starts the next one in the same step."""

    obs: UInt8[Tensor, "n v v 3"]
    """Image codes, after the reset where an episode ended."""
    rewards: Float[Tensor, " n"]
    """float32."""
    terminated: Bool[Tensor, " n"]
    truncated: Bool[Tensor, " n"]
    """Cut off by `max_steps`; never where `terminated`."""
    final_obs: UInt8[Tensor, "n v v 3"]
    """Image codes before the reset; equal to `obs` where no episode ended."""
    episode_returns: Float[Tensor, " n"]
    """float64. Sum of the episode's rewards so far, undiscounted; that of the whole episode where it ended."""
    episode_lengths: Int[Tensor, " n"]
    """Steps of the episode so far, this one included."""
    is_success: Bool[Tensor, " n"]
    """Whether the episode was a success; means something only where it ended."""
    final_places: Int64[Tensor, "fields n"]
    """Where the step led, before the reset; for `BatchedTask.info`."""


class BatchedState(NamedTuple):
    """All that changes in a batched environment."""

    places: Int64[Tensor, "fields n"]
    steps: Int64[Tensor, " n"]
    returns: Float[Tensor, " n"]
    keys: Int64[Tensor, " n"]


class BatchedTask(ABC):
    """A task as the engine steps it. Its methods keep fixed shapes and never wait for the host.

    Args:
        tables: Transitions and views by code, on the device.
        max_steps: Time limit of an episode in steps.
    """

    def __init__(self, tables: Tables, max_steps: int) -> None:
        self.tables = tables
        self.max_steps = max_steps

    @abstractmethod
    def start(self, keys: Int64[Tensor, " n"]) -> Int64[Tensor, "fields n"]:
        """The places in which the episodes of these keys start."""

    @abstractmethod
    def codes(self, places: Int64[Tensor, "fields m"]) -> Int64[Tensor, " m"]:
        """The code of each place, for `tables`."""

    @abstractmethod
    def rewards(self, outcomes: Int[Tensor, " n"], steps: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """float32 rewards for the outcome of each episode's `steps`-th step."""

    def terminated(self, outcomes: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which outcomes end the episode. By default any does."""
        return outcomes != NONE

    def is_success(self, places: Int64[Tensor, "fields n"], outcomes: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Whether an episode that ends in these places, with these outcomes, is a success."""
        return outcomes == SUCCESS

    def info(self, places: Int64[Tensor, "fields n"]) -> dict[str, Int64[Tensor, " n"]]:
        """What the Python environment's `info` says of an episode that ends in these places. By default nothing."""
        return {}

    def arrive(
        self,
        places: Int64[Tensor, "fields n"],
        outcomes: Int[Tensor, " n"],
        keys: Int64[Tensor, " n"],
        next_keys: Int64[Tensor, " n"],
    ) -> tuple[Int64[Tensor, "fields n"], Int64[Tensor, "fields n"]]:
        """Where a step really leads that leads to `places` by the tables, and where the next episodes start.

        Args:
            places: By default where a step leads.
            outcomes: Of the step.
            keys: Of the episodes of the step.
            next_keys: Of the next episodes where one ends, elsewhere of no account.
        """
        return places, self.start(next_keys)


class BatchedEnv:
    """`n_envs` environments of one task as tensors, equal step by step to as many Python environments.

    Call `reset` first. The k-th episode of environment i is a function of the seed, i and k: the same on every
    device and in every batch. Seeds are the batched environments' own, a Python environment of the same seed
    plays other levels (of the same distribution).

    `step` has fixed shapes, doesn't wait for the host and changes the state in place, so that it can be captured
    in a CUDA graph or compiled whole. What it returns is new at every call and shares no memory with the state.

    Args:
        task: The task, on `device`.
        n_envs: Number of environments, at least 1.
        device: Where all tensors are.
        seed: Seed of the first episodes.

    Raises:
        ValueError: If `n_envs` is less than 1.
    """

    def __init__(self, task: BatchedTask, n_envs: int, device: torch.device, seed: int = 0) -> None:
        if n_envs < 1:
            raise ValueError(f"n_envs must be at least 1, not {n_envs}")
        self.task = task
        self.n_envs = n_envs
        self.device = device
        self.max_steps = task.max_steps
        view = task.tables.views.shape[1]
        self.observation_space = spaces.Box(0, MAX_CODE, (view, view, 3), np.uint8)
        self.action_space = spaces.Discrete(N_ACTIONS)
        # The next reset goes on to the first episode.
        self._keys = stream_keys(seed, n_envs, device) - NEXT_EPISODE
        self._places = task.start(self._keys).clone()
        self._steps = torch.zeros(n_envs, dtype=torch.int64, device=device)
        self._returns = torch.zeros(n_envs, dtype=torch.float64, device=device)

    def reset(self, seed: int | None = None) -> UInt8[Tensor, "n v v 3"]:
        """Start a new episode everywhere.

        Args:
            seed: Begin again with this seed's first episodes. None (default) goes on with the next ones.
        """
        if seed is None:
            self._keys.add_(NEXT_EPISODE)
        else:
            self._keys.copy_(stream_keys(seed, self.n_envs, self.device))
        self._places.copy_(self.task.start(self._keys))
        self._steps.zero_()
        self._returns.zero_()
        return self._views(self._places)

    def step(self, actions: Int[Tensor, " n"]) -> Transition:
        """Take one of left (0), right (1), forward (2) in each environment.

        Args:
            actions: On the device. Others than these three aren't checked for, since that would wait for the
                host; what they do is undefined.
        """
        tables, task = self.task.tables, self.task
        entries = torch.add(actions, task.codes(self._places), alpha=N_ACTIONS)
        outcomes = tables.outcomes.index_select(0, entries)
        moved = self._places + tables.deltas.index_select(1, entries)
        steps = self._steps + 1
        rewards = task.rewards(outcomes, steps)
        returns = self._returns + rewards
        terminated = task.terminated(outcomes)
        at_limit = steps >= self.max_steps
        ended = at_limit | terminated

        # Drawn for all, since which episodes end isn't known on the host, and kept where one does.
        next_keys = torch.add(self._keys, ended, alpha=NEXT_EPISODE)
        moved, fresh = task.arrive(moved, outcomes, self._keys, next_keys)
        places = torch.where(ended, fresh, moved)

        # In place: a rebound tensor would be lost to the replays of a CUDA graph.
        self._places.copy_(places)
        self._steps.copy_(steps.masked_fill(ended, 0))
        self._returns.copy_(returns.masked_fill(ended, 0.0))
        self._keys.copy_(next_keys)

        obs, final_obs = self._views(torch.cat((places, moved), dim=1)).chunk(2)
        return Transition(
            obs=obs,
            rewards=rewards,
            terminated=terminated,
            # At the limit and not terminated, in one operation.
            truncated=at_limit > terminated,
            final_obs=final_obs,
            episode_returns=returns,
            episode_lengths=steps,
            is_success=task.is_success(moved, outcomes),
            final_places=moved,
        )

    def possible_truncations(self, n_steps: int) -> Bool[Tensor, " n_steps"]:
        """Whether `max_steps` may cut off an episode in each of the next `n_steps` steps, whatever the actions.

        Entry j is about the (j + 1)-th step from now. An episode c steps old can be cut off at step
        `max_steps - c`; from step `max_steps` on, those that begin meanwhile may be, so any answer is True.
        """
        # One entry before the first step and one after the last take what lies outside.
        cut_off = (self.max_steps - self._steps).clamp(max=n_steps + 1)
        possible = torch.zeros(n_steps + 2, dtype=torch.bool, device=self.device).index_fill(0, cut_off, True)
        step_numbers = torch.arange(1, n_steps + 1, device=self.device)
        return possible[1:-1] | (step_numbers >= self.max_steps)

    @cached_property
    def identity(self) -> str:
        """Says which task this is, with which arguments: a state means something there alone."""
        checksum = hashlib.sha256(f"{type(self.task).__name__} {self.max_steps}".encode())
        for table in self.task.tables:
            checksum.update(f"{tuple(table.shape)} {table.dtype}".encode() + table.cpu().numpy().tobytes())
        return checksum.hexdigest()

    def get_state(self) -> BatchedState:
        """A copy of all that changes, on the device."""
        return BatchedState(self._places.clone(), self._steps.clone(), self._returns.clone(), self._keys.clone())

    def set_state(self, state: BatchedState) -> None:
        """Go on from a state of `get_state`, taken from the same task and number of environments.

        Args:
            state: On any device.

        Raises:
            ValueError: If its shapes aren't this environment's, or it says what can't be.
        """
        own = BatchedState(self._places, self._steps, self._returns, self._keys)
        for name, mine, given in zip(own._fields, own, state, strict=True):
            if mine.shape != given.shape:
                raise ValueError(f"state.{name} must have the shape {tuple(mine.shape)}, not {tuple(given.shape)}")
        codes = self.task.codes(state.places.to(self.device))
        known = (codes >= 0) & (codes < len(self.task.tables.view_ids))
        if not bool(known.all() & ((state.steps >= 0) & (state.steps < self.max_steps)).all()):
            raise ValueError("the state has places or steps that this task doesn't have")
        for mine, given in zip(own, state, strict=True):
            mine.copy_(given)

    def _views(self, places: Int64[Tensor, "fields m"]) -> UInt8[Tensor, "m v v 3"]:
        tables = self.task.tables
        return tables.views.index_select(0, tables.view_ids.index_select(0, self.task.codes(places)))
