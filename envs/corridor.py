"""The Corridor of the Expire-Span paper in MiniGrid's engine: a colour at one end, two doors at the other."""

import math
from collections.abc import Sequence
from typing import Any

from gymnasium import spaces
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Door

from envs.hallway import HEIGHT, HallwayEnv, check_lengths


class CorridorEnv(HallwayEnv):
    """See a colour, walk `length` cells, take the door of that colour.

    ::

        ###########
        #o######D##      o: the cue, a ball in the wall beside the start
        #>.......##      D: two doors in the side walls at the last cell, one of the cue's colour
        ########D##
        ###########

    The agent starts at (1, 2) and faces east; `length` forward moves take it to the last cell, (1 + length, 2).
    Walking forward into a door ends the episode: reward 1.0 at the door of the cue's colour, 0.0 at the other.
    There is no time penalty. After `max_steps` the episode is truncated, with reward 0.0.

    Each reset draws, in this order: the length, the cue's colour, the other door's colour, the side of the
    right door. An agent without memory has chance 0.5, because no place shows the cue and a door at once: a
    view spans `agent_view_size` cells, and the doors are `length >= min_length >= agent_view_size` cells away.

    `info["corridor_length"]` is given by `reset` and every step, `info["is_success"]` by the last step.

    Args:
        min_length: Fewest forward moves from the start to the doors. Default 3.
        max_length: Most forward moves. Default 100.
        length_distribution: "log-uniform" (default) draws `floor(exp(U(ln min, ln(max + 1))))`, so that short
            and long corridors get a like share and learning has somewhere to start; "uniform" draws whole
            numbers in [min, max].
        colors: MiniGrid colours of cue and doors, at least two. The default of two makes the cue one bit, so
            that difficulty is length alone; all six are `tuple(minigrid.core.constants.COLOR_NAMES)`.
        max_steps: Time limit in steps. Default `4 * max_length + 20`: there, back to look at the cue again
            and there once more, with some slack. It is the same for every episode, so the clock tells
            nothing about the length.
        agent_view_size: Side of the square view, odd. Default 3, which shows only the adjoining cells.
        **kwargs: `render_mode`, `tile_size`, `highlight`, `agent_pov`, … of `MiniGridEnv`.

    Raises:
        ValueError: If an argument is out of its range, in one line that says the range.

    Source: Sukhbaatar et al. 2021, arXiv 2105.06548, section 4.1 (its sizes aren't public).
    """

    def __init__(
        self,
        min_length: int = 3,
        max_length: int = 100,
        length_distribution: str = "log-uniform",
        colors: Sequence[str] = ("red", "blue"),
        max_steps: int | None = None,
        agent_view_size: int = 3,
        **kwargs: Any,
    ) -> None:
        _check_arguments(min_length, max_length, length_distribution, colors, max_steps, agent_view_size)
        self.min_length = min_length
        self.max_length = max_length
        self.length_distribution = length_distribution
        self.colors = tuple(colors)
        self.length = max_length
        super().__init__(
            mission_space=MissionSpace(mission_func=self._gen_mission),
            width=max_length + 3,
            height=HEIGHT,
            max_steps=4 * max_length + 20 if max_steps is None else max_steps,
            agent_view_size=agent_view_size,
            **kwargs,
        )
        self.action_space = spaces.Discrete(3)

    @staticmethod
    def _gen_mission() -> str:
        return "take the door of the ball's color"

    @property
    def cue_color(self) -> str:
        """The colour of this episode's cue, which is that of the right door."""
        return self._cue_color

    def _draw_length(self) -> int:
        if self.length_distribution == "uniform":
            return int(self.np_random.integers(self.min_length, self.max_length + 1))
        exponent = self.np_random.uniform(math.log(self.min_length), math.log(self.max_length + 1))
        # exp(log(x)) may round across a whole number at either end.
        return min(max(int(math.exp(exponent)), self.min_length), self.max_length)

    def _gen_grid(self, width: int, height: int) -> None:
        """Build the episode's grid. It's as wide as this episode's corridor needs, so `width` is ignored."""
        self.length = self._draw_length()
        cue = int(self.np_random.integers(len(self.colors)))
        other = int(self.np_random.integers(len(self.colors) - 1))
        other += other >= cue
        right_door_is_north = bool(self.np_random.integers(2))

        self._cue_color = self.colors[cue]
        doors = self._cue_color, self.colors[other]
        north, south = doors if right_door_is_north else doors[::-1]
        self._lay(self._cue_color, north, south)
        self.mission = self._gen_mission()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one of left (0), right (1), forward (2); see the class for reward, end and `info`.

        Raises:
            ValueError: If the action is none of the three.
        """
        cell = self._act(action)
        terminated = isinstance(cell, Door)
        reward = float(isinstance(cell, Door) and cell.color == self._cue_color)
        truncated = not terminated and self.step_count >= self.max_steps

        if self.render_mode == "human":
            self.render()
        info: dict[str, Any] = {"corridor_length": self.length}
        if terminated or truncated:
            info["is_success"] = reward > 0
        return self.gen_obs(), reward, terminated, truncated, info


def _check_arguments(
    min_length: int,
    max_length: int,
    length_distribution: str,
    colors: Sequence[str],
    max_steps: int | None,
    agent_view_size: int,
) -> None:
    check_lengths(min_length, max_length, agent_view_size)
    if length_distribution not in ("log-uniform", "uniform"):
        raise ValueError(f'length_distribution must be "log-uniform" or "uniform", not {length_distribution!r}')
    unknown = sorted(set(colors) - set(COLOR_NAMES))
    if isinstance(colors, str) or unknown or len(set(colors)) < 2 or len(set(colors)) < len(colors):
        raise ValueError(f"colors must be two or more different ones of {', '.join(COLOR_NAMES)}, not {colors!r}")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1 or None (4 * max_length + 20), not {max_steps}")
