"""A corridor's tables: what is seen and what happens depends on the ends only where they are near."""

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor

from envs.batched.engine import BatchedTask
from envs.batched.levels import Blind
from envs.batched.tables import N_ACTIONS, NONE, Tables, ViewCollector
from envs.hallway import ROW

BEHIND, AHEAD, DIRECTION, VARIANT = range(4)
"""Fields of a place: steps from the start, steps to the last cell, MiniGrid's direction, which cue and doors."""

EnterLevel = Callable[[int, int], Blind]
"""Gives the Python environment in the level of a length and a variant."""
TakeAction = Callable[[Blind, int], int]
"""Steps the Python environment and gives the outcome."""


class WalkTask(BatchedTask):
    """A corridor of any length, of which only the places near its ends stand in the tables.

    A view reaches `agent_view_size - 1` cells ahead and sideways less, so that nothing of an end is seen from
    `agent_view_size` steps away or more: all such distances share a code.

    Args:
        tables: Of `walk_tables`, on the device.
        max_steps: Time limit.
        n_variants: Number of variants.
    """

    def __init__(self, tables: Tables, max_steps: int, n_variants: int) -> None:
        super().__init__(tables, max_steps)
        fields, device = tables.deltas.shape[0], tables.deltas.device
        far = tables.views.shape[1]
        caps = [far, far, 3, n_variants - 1]
        weights = [(far + 1) * 4 * n_variants, 4 * n_variants, n_variants, 1]
        # Further fields are no part of the code.
        more = [0] * (fields - len(caps))
        self._caps = torch.tensor(caps + more)[:, None].to(device)
        self._weights = torch.tensor(weights + more)[:, None].to(device)

    def codes(self, places: Int64[Tensor, "fields m"]) -> Int64[Tensor, " m"]:
        """Both distances, as far as one sees, with direction and variant."""
        return (torch.minimum(places, self._caps) * self._weights).sum(0)

    def info(self, places: Int64[Tensor, "fields n"]) -> dict[str, Int64[Tensor, " n"]]:
        """The `corridor_length`."""
        return {"corridor_length": places[BEHIND] + places[AHEAD]}


def walk_tables(enter: EnterLevel, take: TakeAction, view_size: int, n_variants: int) -> Tables:
    """Tables of the four fields, from the Python environment's steps in corridors of up to `2 * view_size`.

    Args:
        enter: Gives the environment in a level; called anew where an outcome has changed it.
        take: Steps it.
        view_size: Side of the view, and the shortest length; farther than this is as far.
        n_variants: Number of variants.
    """
    views = ViewCollector(view_size)
    shape = (view_size + 1, view_size + 1, 4, n_variants)
    # Distances that make a corridor too short aren't reached and stay 0.
    deltas = torch.zeros(4, *shape, N_ACTIONS, dtype=torch.int64)
    outcomes = torch.zeros(*shape, N_ACTIONS, dtype=torch.int64)
    view_ids = torch.zeros(*shape, dtype=torch.int64)
    for length in range(view_size, 2 * view_size + 1):
        for variant in range(n_variants):
            env = enter(length, variant)
            for behind in range(length - view_size, view_size + 1):
                for direction in range(4):
                    code = behind, length - behind, direction, variant
                    env.place((1 + behind, ROW), direction)
                    view_ids[code] = views.add(env._codes())
                    for action in range(N_ACTIONS):
                        env.place((1 + behind, ROW), direction)
                        outcome = take(env, action)
                        if outcome != NONE:
                            outcomes[*code, action] = outcome
                            env = enter(length, variant)
                            continue
                        east = int(env.agent_pos[0]) - 1 - behind
                        deltas[BEHIND, *code, action] = east
                        deltas[AHEAD, *code, action] = -east
                        deltas[DIRECTION, *code, action] = int(env.agent_dir) - direction
    return Tables(deltas.view(4, -1), outcomes.view(-1), view_ids.view(-1), views.table())
