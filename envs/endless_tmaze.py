"""The Endless T-Maze in MiniGrid's engine: corridor after corridor, each with a cue that cancels the last one."""

from typing import Any

from gymnasium import spaces
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Door

from envs.hallway import HEIGHT, HallwayEnv, check_lengths

CUE_COLORS = ("red", "blue")
"""Colour of the cue for a turn to the left (north) and to the right (south)."""
CORRECT, WRONG, MOVE = 1.0, -1.0, -0.01
"""Rewards of a step through the right exit, through the wrong one, and of any other."""


class EndlessTMazeEnv(HallwayEnv):
    """See a cue, walk `length` cells, turn the cued way; then the next corridor begins, until time is up.

    ::

        ###########
        #o######D##      o: the cue, a red ball (turn left, north) or a blue one (turn right, south)
        #>.......##      D: two grey doors, the exits, in the side walls at the last cell
        ########D##
        ###########

    The agent starts at (1, 2) and faces east; `length` forward moves take it to the last cell, (1 + length, 2).
    Walking forward into a door puts it, in the same step, at the start of the next corridor, facing east: reward
    1.0 at the cued door, -1.0 at the other, -0.01 for every other step. An episode ends after `max_steps` and no
    sooner, by truncation.

    Each corridor draws, in this order: the length (unless it's fixed) and the cue. An agent without memory turns
    the right way half the time, because no place shows the cue and a door at once: a view spans
    `agent_view_size` cells, and the doors are `length >= agent_view_size` cells away.

    `info["corridor_length"]`, of the corridor in which the agent now is, is given by `reset` and every step; the last
    step's also has `turns` (corridors walked through), `correct_turns` and `is_success` (at least one turn, and
    all of them right).

    Args:
        min_length: Fewest forward moves from a start to its doors. Default 3.
        max_length: Most forward moves. Default 20.
        length_distribution: "uniform" (default) draws whole numbers in [min, max]; "fixed" makes every corridor
            `max_length` long.
        max_steps: Steps of an episode. Default 1000.
        agent_view_size: Side of the square view, odd. Default 3, which shows only the adjoining cells.
        **kwargs: `render_mode`, `tile_size`, `highlight`, `agent_pov`, … of `MiniGridEnv`.

    Raises:
        ValueError: If an argument is out of its range, in one line that says the range.

    Source: arXiv 2601.15086; the layout is that of our Corridor.
    """

    def __init__(
        self,
        min_length: int = 3,
        max_length: int = 20,
        length_distribution: str = "uniform",
        max_steps: int = 1000,
        agent_view_size: int = 3,
        **kwargs: Any,
    ) -> None:
        _check_arguments(min_length, max_length, length_distribution, max_steps, agent_view_size)
        self.min_length = min_length
        self.max_length = max_length
        self.length_distribution = length_distribution
        self.length = max_length
        self.turns = self.correct_turns = 0
        super().__init__(
            mission_space=MissionSpace(mission_func=self._gen_mission),
            width=max_length + 3,
            height=HEIGHT,
            max_steps=max_steps,
            agent_view_size=agent_view_size,
            **kwargs,
        )
        self.action_space = spaces.Discrete(3)

    @staticmethod
    def _gen_mission() -> str:
        return "turn left after a red ball, right after a blue one"

    @property
    def cue(self) -> int:
        """This corridor's: 0 left (north), 1 right (south)."""
        return self._cue

    def _gen_grid(self, width: int, height: int) -> None:
        """Begin an episode with its first corridor, as wide as its length needs, so `width` is ignored."""
        self.turns = self.correct_turns = 0
        self.mission = self._gen_mission()
        self._begin_corridor()

    def _begin_corridor(self) -> None:
        self.length = self.max_length
        if self.length_distribution == "uniform":
            self.length = int(self.np_random.integers(self.min_length, self.max_length + 1))
        self._cue = int(self.np_random.integers(2))

        self._lay(CUE_COLORS[self._cue], "grey", "grey")

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one of left (0), right (1), forward (2); see the class for reward, end and `info`.

        Raises:
            ValueError: If the action is none of the three.
        """
        reward = MOVE
        if isinstance(self._act(action), Door):
            reward = self._take_exit()
        truncated = self.step_count >= self.max_steps

        if self.render_mode == "human":
            self.render()
        info: dict[str, Any] = {"corridor_length": self.length}
        if truncated:
            info["turns"], info["correct_turns"] = self.turns, self.correct_turns
            info["is_success"] = 0 < self.turns == self.correct_turns
        return self.gen_obs(), reward, False, truncated, info

    def _take_exit(self) -> float:
        """Go through the door ahead, into the next corridor; gives the reward."""
        goes_south = self.agent_dir == 1
        is_correct = goes_south == bool(self._cue)
        self.turns += 1
        self.correct_turns += is_correct
        self._begin_corridor()
        return CORRECT if is_correct else WRONG


def _check_arguments(
    min_length: int, max_length: int, length_distribution: str, max_steps: int, agent_view_size: int
) -> None:
    check_lengths(min_length, max_length, agent_view_size)
    if length_distribution not in ("uniform", "fixed"):
        raise ValueError(f'length_distribution must be "uniform" or "fixed", not {length_distribution!r}')
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, not {max_steps}")
