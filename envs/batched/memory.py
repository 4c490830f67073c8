"""MiniGrid's Memory tasks as tables: a place is one number, which stands for level, position and direction."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from envs.batched.choice import Choice
from envs.batched.counter_random import draw_offsets, uniforms
from envs.batched.engine import BatchedTask
from envs.batched.levels import Blind, enter_level
from envs.batched.tables import FAILURE, N_ACTIONS, NONE, SUCCESS, Tables, ViewCollector
from envs.view import FastMemoryEnv

Pose = tuple[int, int, int]


class MemoryLevel(NamedTuple):
    """The draws that make a level, as `MemoryEnv._gen_grid` makes them."""

    hallway_end: int
    start: int
    """Column in which the agent starts."""
    kind: int
    """Of the object in the start room: 0 key, 1 ball."""
    order: int
    """Of the targets: 0 ball above, 1 key above."""


class _BlindMemoryEnv(Blind, FastMemoryEnv):
    pass


class MemoryTask(BatchedTask):
    """Every place that can be reached in every level is one entry of the tables.

    Args:
        env: The Python environment whose arguments count.
        device: Where to step.
    """

    def __init__(self, env: FastMemoryEnv, device: torch.device) -> None:
        maker = _TableMaker(env)
        super().__init__(maker.tables().to(device), env.max_steps)
        self.levels = maker.levels
        """By number, as `start` draws them."""
        self.poses = maker.poses
        """Column, row and direction of each place."""
        self.starts = torch.tensor(maker.starts).to(device)
        """The place in which each level starts."""
        self._level = Choice(np.array(maker.probabilities), device)
        self._offsets = draw_offsets(1, device)
        # What MiniGrid pays for success at each step, rounded once.
        rewards = [1 - 0.9 * (step / env.max_steps) for step in range(env.max_steps + 1)]
        self._success_rewards = torch.tensor(rewards, dtype=torch.float32).to(device)

    def start(self, keys: Int64[Tensor, " n"]) -> Int64[Tensor, "1 n"]:
        """MiniGrid's distribution: hallway end, start column, kind and order, each uniform given those before."""
        levels = self._level.draw(uniforms(keys, self._offsets)[0])
        return self.starts.index_select(0, levels)[None]

    def codes(self, places: Int64[Tensor, "1 m"]) -> Int64[Tensor, " m"]:
        """A place's own number."""
        return places[0]

    def rewards(self, outcomes: Int[Tensor, " n"], steps: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """`1 - 0.9 * step / max_steps` for success, else 0."""
        return self._success_rewards.index_select(0, steps) * (outcomes == SUCCESS)


class _TableMaker:
    """Explores every level by the Python environment's own steps."""

    def __init__(self, env: FastMemoryEnv) -> None:
        self._env = _BlindMemoryEnv(
            size=env.size, random_length=env.random_length, max_steps=env.max_steps, agent_view_size=env.agent_view_size
        )
        self._views = ViewCollector(env.agent_view_size)
        self._successors: list[int] = []
        self._outcomes: list[int] = []
        self._view_ids: list[int] = []
        self.poses: list[Pose] = []
        self.levels: list[MemoryLevel] = []
        self.starts: list[int] = []
        self.probabilities: list[float] = []
        ends = range(4, env.size - 2) if env.random_length else range(env.size - 3, env.size - 2)
        for hallway_end in ends:
            for kind in range(2):
                for order in range(2):
                    self._explore(hallway_end, kind, order, 1 / (len(ends) * hallway_end * 4))

    def tables(self) -> Tables:
        successors = np.array(self._successors, np.int64)
        deltas = successors - np.repeat(np.arange(len(self.poses)), N_ACTIONS)
        return Tables(
            torch.from_numpy(deltas[None]),
            torch.tensor(self._outcomes),
            torch.tensor(self._view_ids),
            self._views.table(),
        )

    def _explore(self, hallway_end: int, kind: int, order: int, probability: float) -> None:
        """Add the places of the levels that differ in the start alone, and the levels."""
        env = self._env
        levels = [MemoryLevel(hallway_end, start, kind, order) for start in range(1, hallway_end + 1)]
        enter_level(env, levels[0] if env.random_length else levels[0][1:])
        first, row = len(self.poses), int(env.agent_pos[1])
        numbers: dict[Pose, int] = {}
        ended: set[Pose] = set()

        def number(pose: Pose) -> int:
            if pose not in numbers:
                numbers[pose] = first + len(numbers)
                self.poses.append(pose)
            return numbers[pose]

        for level in levels:
            self.levels.append(level)
            self.starts.append(number((level.start, row, 0)))
            self.probabilities.append(probability)
        explored = first
        while explored < len(self.poses):
            pose = self.poses[explored]
            explored += 1
            env.place(pose[:2], pose[2])
            self._view_ids.append(self._views.add(env._codes()))
            for action in range(N_ACTIONS):
                # No step leads on from where an episode ended.
                if pose in ended:
                    self._successors.append(numbers[pose])
                    self._outcomes.append(NONE)
                    continue
                env.place(pose[:2], pose[2])
                _, reward, terminated, _, _ = env.step(action)
                after = (int(env.agent_pos[0]), int(env.agent_pos[1]), int(env.agent_dir))
                if terminated:
                    ended.add(after)
                self._successors.append(number(after))
                self._outcomes.append((SUCCESS if reward > 0 else FAILURE) if terminated else NONE)
