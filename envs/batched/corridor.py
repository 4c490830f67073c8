"""The Corridor as a batched environment."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from envs.batched.choice import Choice
from envs.batched.counter_random import draw_offsets, uniforms
from envs.batched.lengths import length_probabilities
from envs.batched.levels import Blind, enter_level
from envs.batched.tables import FAILURE, NONE, SUCCESS
from envs.batched.walk import WalkTask, walk_tables
from envs.corridor import CorridorEnv


class Variant(NamedTuple):
    """The draws of `CorridorEnv` that follow the length."""

    cue: int
    """Index in `colors`."""
    other: int
    """Index of the other door's colour among the rest."""
    right_door_is_north: int


def variants(n_colors: int) -> list[Variant]:
    """All of them, by number."""
    return [Variant(c, o, north) for c in range(n_colors) for o in range(n_colors - 1) for north in range(2)]


class _BlindCorridorEnv(Blind, CorridorEnv):
    pass


class CorridorTask(WalkTask):
    """A place is how far the start and the doors are, the direction and the variant.

    Args:
        env: The Python environment whose arguments count.
        device: Where to step.
    """

    def __init__(self, env: CorridorEnv, device: torch.device) -> None:
        self.variants = variants(len(env.colors))
        view = env.agent_view_size
        short = _BlindCorridorEnv(
            view, 2 * view, "uniform", env.colors, agent_view_size=view, see_through_walls=env.see_through_walls
        )

        def enter(length: int, variant: int) -> Blind:
            enter_level(short, (length, *self.variants[variant]))
            return short

        tables = walk_tables(enter, _take, view, len(self.variants))
        super().__init__(tables.to(device), env.max_steps, len(self.variants))
        probabilities = length_probabilities(env.min_length, env.max_length, env.length_distribution)
        self._min_length = env.min_length
        self._length = Choice(probabilities, device)
        self._variant = Choice(np.full(len(self.variants), 1 / len(self.variants)), device)
        self._offsets = draw_offsets(2, device)

    def start(self, keys: Int64[Tensor, " n"]) -> Int64[Tensor, "4 n"]:
        """At the start, facing east, with a new length and a new variant."""
        for_length, for_variant = uniforms(keys, self._offsets)
        length = self._length.draw(for_length) + self._min_length
        zero = torch.zeros_like(length)
        return torch.stack((zero, length, zero, self._variant.draw(for_variant)))

    def rewards(self, outcomes: Int[Tensor, " n"], steps: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """1 for the right door, else 0."""
        return (outcomes == SUCCESS).float()


def _take(env: Blind, action: int) -> int:
    _, reward, terminated, _, _ = env.step(action)
    if not terminated:
        return NONE
    return SUCCESS if float(reward) > 0 else FAILURE
