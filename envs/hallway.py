"""A corridor of some length in MiniGrid's engine, with a cue at its start and two doors at its end."""

from typing import Any

import numpy as np
from jaxtyping import UInt8
from minigrid.core.actions import Actions
from minigrid.core.constants import DIR_TO_VEC
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Door, Wall, WorldObj

from envs.view import FastView

HEIGHT = 5
ROW = 2
"""The corridor runs along this row; the cue and the doors are in the walls beside it."""

# Nothing ever changes a wall, so every wall cell of every grid can be this one object: a reset then costs
# three slice assignments instead of hundreds of objects.
_WALL = Wall()


class HallwayEnv(FastView):
    """What Corridor and Endless T-Maze share: the grid, how the agent moves in it, `info["corridor_length"]`."""

    length: int
    """Forward moves from the start to the doors."""

    def _lay(self, cue: str, north: str, south: str) -> None:
        """Lay a corridor of `length`, as wide as that needs, with a cue and doors of these colours; begin it."""
        self.width = self.length + 3
        self.grid = Grid(self.width, HEIGHT)
        self.grid.grid = [_WALL] * (self.width * HEIGHT)
        start = ROW * self.width + 1
        self.grid.grid[start : start + self.length + 1] = [None] * (self.length + 1)
        self.put_obj(Ball(cue), 1, ROW - 1)
        self.put_obj(Door(north), 1 + self.length, ROW - 1)
        self.put_obj(Door(south), 1 + self.length, ROW + 1)
        self.agent_pos = (1, ROW)
        self.agent_dir = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; `info["corridor_length"]` is its corridor's. The observation is MiniGrid's dictionary."""
        observation, info = super().reset(seed=seed, options=options)
        info["corridor_length"] = self.length
        return observation, info

    def _act(self, action: Any) -> WorldObj | None:
        """Count a step and turn or move; what stands before an agent that can't move on, else None.

        Raises:
            ValueError: If the action is none of left (0), right (1), forward (2).
        """
        action = int(action)
        if not 0 <= action < 3:
            raise ValueError(f"action must be 0 (left), 1 (right) or 2 (forward), not {action}")
        self.step_count += 1
        if action != Actions.forward:
            self.agent_dir = (self.agent_dir + (1 if action == Actions.right else -1)) % 4
            return None
        east, south = DIR_TO_VEC[self.agent_dir].tolist()
        ahead = self.agent_pos[0] + east, self.agent_pos[1] + south
        cell = self.grid.get(*ahead)
        if cell is None:
            self.agent_pos = ahead
        return cell

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:
        """A frame of the whole grid, `5 * tile_size` high; its width follows the corridor's length."""
        frame: UInt8[np.ndarray, "height width 3"] | None = super().render()
        return frame


def check_lengths(min_length: int, max_length: int, agent_view_size: int) -> None:
    """Raises a `ValueError` where a view could show cue and doors at once, or the lengths are out of order."""
    if agent_view_size < 3 or agent_view_size % 2 == 0:
        raise ValueError(f"agent_view_size must be odd and at least 3, not {agent_view_size}")
    if min_length < agent_view_size:
        raise ValueError(
            f"min_length must be at least agent_view_size ({agent_view_size}), or one view could show "
            f"cue and doors at once, not {min_length}"
        )
    if max_length < min_length:
        raise ValueError(f"max_length must be at least min_length ({min_length}), not {max_length}")
