"""The Corridor of the Expire-Span paper in MiniGrid's engine: a colour at one end, two doors at the other."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import UInt8
from minigrid.core.actions import Actions
from minigrid.core.constants import COLOR_NAMES, DIR_TO_VEC
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Ball, Door, Wall

from envs.view import FastView

HEIGHT = 5
ROW = 2
"""The corridor runs along this row; the cue and the doors are in the walls beside it."""

# Nothing ever changes a wall, so every wall cell of every grid can be this one object: a reset then costs
# three slice assignments instead of hundreds of objects.
_WALL = Wall()


class CorridorEnv(FastView):
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

    `info["length"]` is given by `reset` and every step, `info["is_success"]` by the last step.

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

        self.width = self.length + 3
        self.grid = Grid(self.width, HEIGHT)
        self.grid.grid = [_WALL] * (self.width * HEIGHT)
        start = ROW * self.width + 1
        self.grid.grid[start : start + self.length + 1] = [None] * (self.length + 1)

        self._cue_color = self.colors[cue]
        doors = self._cue_color, self.colors[other]
        north, south = doors if right_door_is_north else doors[::-1]
        self.put_obj(Ball(self._cue_color), 1, ROW - 1)
        self.put_obj(Door(north), 1 + self.length, ROW - 1)
        self.put_obj(Door(south), 1 + self.length, ROW + 1)

        self.agent_pos = (1, ROW)
        self.agent_dir = 0
        self.mission = self._gen_mission()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; `info["length"]` is its corridor's. The observation is MiniGrid's dictionary."""
        observation, info = super().reset(seed=seed, options=options)
        info["length"] = self.length
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one of left (0), right (1), forward (2); see the class for reward, end and `info`.

        Raises:
            ValueError: If the action is none of the three.
        """
        action = int(action)
        if not 0 <= action < 3:
            raise ValueError(f"action must be 0 (left), 1 (right) or 2 (forward), not {action}")
        self.step_count += 1
        reward, terminated = 0.0, False
        if action == Actions.left:
            self.agent_dir = (self.agent_dir - 1) % 4
        elif action == Actions.right:
            self.agent_dir = (self.agent_dir + 1) % 4
        else:
            east, south = DIR_TO_VEC[self.agent_dir].tolist()
            ahead = self.agent_pos[0] + east, self.agent_pos[1] + south
            cell = self.grid.get(*ahead)
            if cell is None:
                self.agent_pos = ahead
            elif isinstance(cell, Door):
                terminated = True
                reward = float(cell.color == self._cue_color)
        truncated = not terminated and self.step_count >= self.max_steps

        if self.render_mode == "human":
            self.render()
        info: dict[str, Any] = {"length": self.length}
        if terminated or truncated:
            info["is_success"] = reward > 0
        return self.gen_obs(), reward, terminated, truncated, info

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:
        """A frame of the whole grid, `5 * tile_size` high; its width follows the episode's length."""
        frame: UInt8[np.ndarray, "height width 3"] | None = super().render()
        return frame


def _check_arguments(
    min_length: int,
    max_length: int,
    length_distribution: str,
    colors: Sequence[str],
    max_steps: int | None,
    agent_view_size: int,
) -> None:
    if agent_view_size < 3 or agent_view_size % 2 == 0:
        raise ValueError(f"agent_view_size must be odd and at least 3, not {agent_view_size}")
    if min_length < agent_view_size:
        raise ValueError(
            f"min_length must be at least agent_view_size ({agent_view_size}), or one view could show "
            f"cue and doors at once, not {min_length}"
        )
    if max_length < min_length:
        raise ValueError(f"max_length must be at least min_length ({min_length}), not {max_length}")
    if length_distribution not in ("log-uniform", "uniform"):
        raise ValueError(f'length_distribution must be "log-uniform" or "uniform", not {length_distribution!r}')
    unknown = sorted(set(colors) - set(COLOR_NAMES))
    if isinstance(colors, str) or unknown or len(set(colors)) < 2 or len(set(colors)) < len(colors):
        raise ValueError(f"colors must be two or more different ones of {', '.join(COLOR_NAMES)}, not {colors!r}")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1 or None (4 * max_length + 20), not {max_steps}")
