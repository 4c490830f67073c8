"""MiniGrid's observation, the same to the byte, at a fraction of its cost."""

from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
from jaxtyping import UInt8
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Key, Wall, WorldObj
from minigrid.envs.keycorridor import KeyCorridorEnv
from minigrid.envs.memory import MemoryEnv
from minigrid.minigrid_env import MiniGridEnv

# A cell's codes are packed into one integer, object | colour << 8 | state << 16: its bytes in memory.
_PACKED = np.dtype("<u4")
_EMPTY = OBJECT_TO_IDX["empty"]
_WALLS = {color: OBJECT_TO_IDX["wall"] | index << 8 for color, index in COLOR_TO_IDX.items()}
_OUTSIDE = Wall()


class FastView(MiniGridEnv):
    """Mixed in before a MiniGrid environment, makes its observations without MiniGrid's intermediate grids.

    MiniGrid builds up to five grids of objects for a view and tests each cell in Python several times; that
    takes most of a step. Here the rows of the view are slices of the grid, turned by one permutation, and how
    sight spreads along a row is looked up by the row's bits. Nothing is remembered between steps but constants,
    so whatever the environment changes is seen.
    """

    def gen_obs(self) -> dict[str, Any]:
        """MiniGrid's `image` (view, view, 3) uint8, `direction` and `mission`."""
        return {"image": self._codes(), "direction": self.agent_dir, "mission": self.mission}

    def _codes(self) -> UInt8[np.ndarray, "view view 3"]:
        view, half, direction = self.agent_view_size, self.agent_view_size // 2, int(self.agent_dir)
        left = int(self.agent_pos[0]) - (0, half, view - 1, half)[direction]
        top = int(self.agent_pos[1]) - (half, 0, half, view - 1)[direction]
        cells = _turn(view, direction)(_window(self.grid, left, top, view))

        packed = np.zeros((view, view), _PACKED)  # rows from far to near, columns from left to right
        lit = 1 << half
        for row in range(view - 1, -1, -1):
            line = cells[row * view : (row + 1) * view]
            if self.see_through_walls:
                seen = (1 << view) - 1
            else:
                seen, lit = _spread(lit, _clear(line), view)
                if not seen:
                    break
            packed[row] = [_pack(cell) if seen >> i & 1 else 0 for i, cell in enumerate(line)]
        packed[view - 1, half] = _pack(self.carrying)
        codes = packed.view(np.uint8).reshape(view, view, 4)[..., :3]
        return np.ascontiguousarray(codes.transpose(1, 0, 2))


class FastMemoryEnv(FastView, MemoryEnv):
    """MiniGrid's Memory tasks, with levels made at a third of the cost.

    The walls depend on the hallway's end alone, and stand for all episodes and environments.
    """

    def _gen_grid(self, width: int, height: int) -> None:
        """MiniGrid's level, by the same draws in the same order."""
        middle = height // 2
        end = int(self._rand_int(4, width - 2)) if self.random_length else width - 3
        start = int(self._rand_int(1, end + 1))
        cue = (Key, Ball)[self._rand_int(0, 2)]
        upper, lower = ((Ball, Key), (Key, Ball))[self._rand_int(0, 2)]
        self.grid = Grid(width, height)
        self.grid.grid = list(_memory_walls(width, end))
        for column, row, kind in ((1, middle - 1, cue), (end + 1, middle - 2, upper), (end + 1, middle + 2, lower)):
            self.grid.set(column, row, kind("green"))
        self.agent_pos, self.agent_dir = np.array((start, middle)), 0
        above, below = (end + 1, middle - 1), (end + 1, middle + 1)
        self.success_pos, self.failure_pos = (above, below) if upper is cue else (below, above)
        self.mission = self._gen_mission()


class FastKeyCorridorEnv(FastView, KeyCorridorEnv):
    """MiniGrid's KeyCorridor tasks."""


@cache
def _memory_walls(size: int, end: int) -> tuple[WorldObj | None, ...]:
    """The cells of a Memory task whose hallway ends at column `end`, row by row: one and the same wall, or nothing."""
    middle, wall = size // 2, Wall()

    def is_wall(column: int, row: int) -> bool:
        border = column in (0, size - 1, end + 2) or row in (0, size - 1)
        away = abs(row - middle)
        room = (away == 2 and column <= 4) or (away == 1 and column == 4)
        hallway = away == 1 and 5 <= column < end
        return border or room or hallway or (column == end and away > 0)

    return tuple(wall if is_wall(i % size, i // size) else None for i in range(size * size))


def _window(grid: Grid, left: int, top: int, view: int) -> list[WorldObj | None]:
    """The cells of a square of the grid, line by line; walls where it reaches beyond."""
    width = grid.width
    before, after = max(0, -left), max(0, left + view - width)
    cells: list[WorldObj | None] = []
    for y in range(top, top + view):
        if 0 <= y < grid.height:
            start = y * width + left
            cells += [_OUTSIDE] * before
            cells += grid.grid[start + before : start + view - after]
            cells += [_OUTSIDE] * after
        else:
            cells += [_OUTSIDE] * view
    return cells


@cache
def _turn(view: int, direction: int) -> "itemgetter[Any]":
    """Picks a window's cells in the order in which the agent sees them: line by line, from far to near."""
    # rot90 turns counter-clockwise, which brings what lies east to the top, and south after two.
    order = np.rot90(np.arange(view * view).reshape(view, view), direction + 1)
    return itemgetter(*order.ravel().tolist())


def _pack(cell: WorldObj | None) -> int:
    if cell is None:
        return _EMPTY
    if cell.__class__ is Wall:
        return _WALLS[cell.color]
    kind, color, state = cell.encode()
    return int(kind | color << 8 | state << 16)


def _clear(line: tuple[WorldObj | None, ...]) -> int:
    """Bit i is set where one can see past cell i."""
    clear = 0
    for i, cell in enumerate(line):
        if cell is None or (cell.__class__ is not Wall and cell.see_behind()):
            clear |= 1 << i
    return clear


@cache
def _spread(lit: int, clear: int, view: int) -> tuple[int, int]:
    """How sight spreads in a row, and into the next one farther on, as MiniGrid's `Grid.process_vis` has it.

    Args:
        lit: Bit i is set where the row before lets the agent see cell i.
        clear: Bit i is set where one can see past cell i.
        view: Cells in a row.

    Returns:
        The bits of the cells seen in this row, and `lit` of the next.
    """
    seen, beyond = lit, 0
    for i in range(view - 1):
        if seen & clear & 1 << i:
            seen |= 1 << i + 1
            beyond |= 3 << i
    for i in range(view - 1, 0, -1):
        if seen & clear & 1 << i:
            seen |= 1 << i - 1
            beyond |= 3 << i - 1
    return seen, beyond
