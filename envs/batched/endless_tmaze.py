"""The Endless T-Maze as a batched environment."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from envs.batched.choice import Choice
from envs.batched.counter_random import NEXT_PART, draw_offsets, uniforms
from envs.batched.lengths import length_probabilities
from envs.batched.levels import Blind, enter_level
from envs.batched.tables import FAILURE, NONE, SUCCESS
from envs.batched.walk import WalkTask, walk_tables
from envs.endless_tmaze import CORRECT, CUE_COLORS, MOVE, WRONG, EndlessTMazeEnv

TURNS, CORRECT_TURNS = 4, 5
"""Fields of a place, after those of `envs.batched.walk`: exits taken in this episode, right ones among them."""


class _BlindEndlessTMazeEnv(Blind, EndlessTMazeEnv):
    pass


class EndlessTMazeTask(WalkTask):
    """A place is how far the start and the doors are, the direction, the cue, and the counts of turns.

    Args:
        env: The Python environment whose arguments count.
        device: Where to step.
    """

    def __init__(self, env: EndlessTMazeEnv, device: torch.device) -> None:
        view, n_cues = env.agent_view_size, len(CUE_COLORS)
        short = _BlindEndlessTMazeEnv(view, 2 * view, agent_view_size=view, see_through_walls=env.see_through_walls)

        def enter(length: int, cue: int) -> Blind:
            # The second corridor is what a door leads to; which one doesn't matter.
            enter_level(short, (length, cue, view, 0))
            return short

        tables = walk_tables(enter, _take, view, n_cues)
        counts = torch.stack((tables.outcomes != NONE, tables.outcomes == SUCCESS))
        tables = tables._replace(deltas=torch.cat((tables.deltas, counts.long())))
        super().__init__(tables.to(device), env.max_steps, n_cues)
        # "fixed" is a range of one.
        self._min_length = env.min_length if env.length_distribution == "uniform" else env.max_length
        self._length = Choice(length_probabilities(self._min_length, env.max_length, "uniform"), device)
        self._cue = Choice(np.full(n_cues, 1 / n_cues), device)
        self._offsets = draw_offsets(2, device)
        by_outcome = {NONE: MOVE, FAILURE: WRONG, SUCCESS: CORRECT}
        self._rewards = torch.tensor([by_outcome[outcome] for outcome in sorted(by_outcome)]).to(device)

    def start(self, keys: Int64[Tensor, " n"]) -> Int64[Tensor, "6 n"]:
        """At the start of a corridor of a new length and cue, no turn taken."""
        for_length, for_cue = uniforms(keys, self._offsets)
        length = self._length.draw(for_length) + self._min_length
        zero = torch.zeros_like(length)
        return torch.stack((zero, length, zero, self._cue.draw(for_cue), zero, zero))

    def rewards(self, outcomes: Int[Tensor, " n"], steps: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """1 for the cued exit, -1 for the other, -0.01 for any other step."""
        return self._rewards.index_select(0, outcomes)

    def terminated(self, outcomes: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Nothing ends an episode but time."""
        return torch.zeros_like(outcomes, dtype=torch.bool)

    def is_success(self, places: Int64[Tensor, "6 n"], outcomes: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """At least one turn, and all of them right."""
        return (places[TURNS] > 0) & (places[TURNS] == places[CORRECT_TURNS])

    def info(self, places: Int64[Tensor, "6 n"]) -> dict[str, Int64[Tensor, " n"]]:
        """The last `corridor_length`, and `turns` and `correct_turns` of the episode."""
        return super().info(places) | {"turns": places[TURNS], "correct_turns": places[CORRECT_TURNS]}

    def arrive(
        self,
        places: Int64[Tensor, "6 n"],
        outcomes: Int[Tensor, " n"],
        keys: Int64[Tensor, " n"],
        next_keys: Int64[Tensor, " n"],
    ) -> tuple[Int64[Tensor, "6 n"], Int64[Tensor, "6 n"]]:
        """Through an exit lies the next corridor."""
        # An episode's first corridor is drawn with its own key, the one after k turns with k parts added.
        corridor_keys = torch.add(keys, places[TURNS], alpha=NEXT_PART)
        corridor, fresh = self.start(torch.cat((corridor_keys, next_keys))).chunk(2, dim=1)
        entered = torch.where(outcomes != NONE, corridor[:TURNS], places[:TURNS])
        return torch.cat((entered, places[TURNS:])), fresh


def _take(env: Blind, action: int) -> int:
    reward = float(env.step(action)[1])
    return {CORRECT: SUCCESS, WRONG: FAILURE}.get(reward, NONE)
