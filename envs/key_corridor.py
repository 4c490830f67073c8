"""A planner for MiniGrid's KeyCorridor tasks that sees the whole grid."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from minigrid.core.actions import Actions
from minigrid.core.constants import DIR_TO_VEC
from minigrid.core.world_object import Door, Key
from minigrid.envs.keycorridor import KeyCorridorEnv

Cell = tuple[int, int]
_STEPS: list[Cell] = [(int(x), int(y)) for x, y in DIR_TO_VEC]


class _Pose(NamedTuple):
    cell: Cell
    direction: int

    @property
    def front(self) -> Cell:
        x, y = _STEPS[self.direction]
        return self.cell[0] + x, self.cell[1] + y


class KeyCorridorPlanner:
    """Gives the next action, planned anew at each step by breadth-first search on the true grid.

    It fetches the key, opens the locked door, drops the key (MiniGrid carries one thing at a time, so with the
    key in hand the ball can't be picked up) where it blocks no way, and picks up the ball. It knows where
    everything is: no bound for an agent that has to search.

    Args:
        env: The environment itself, unwrapped, of any size.
    """

    def __init__(self, env: KeyCorridorEnv) -> None:
        self.env = env

    def action(self) -> int:
        """The next action from where the environment stands now.

        Raises:
            RuntimeError: If nothing leads on, which no level of KeyCorridor allows.
        """
        objects = {cell: self.env.grid.get(*cell) for cell in self._cells()}
        locked = next((c for c, o in objects.items() if isinstance(o, Door) and o.is_locked), None)
        ball = next((cell for cell, thing in objects.items() if thing is self.env.obj), None)
        key_in_hand = isinstance(self.env.carrying, Key)
        if locked is not None and key_in_hand:
            return self._approach(lambda pose: pose.front == locked, Actions.toggle)
        if locked is not None:
            key = next(cell for cell, thing in objects.items() if isinstance(thing, Key))
            return self._approach(lambda pose: pose.front == key, Actions.pickup)
        if key_in_hand:
            return self._approach(lambda pose: self._may_drop(pose, ball), Actions.drop)
        return self._approach(lambda pose: pose.front == ball, Actions.pickup)

    def _cells(self) -> Iterator[Cell]:
        return ((x, y) for x in range(self.env.grid.width) for y in range(self.env.grid.height))

    def _may_drop(self, pose: _Pose, ball: Cell | None) -> bool:
        """Whether the cell ahead is free and isn't needed on the way to the ball."""
        if self.env.grid.get(*pose.front) is not None:
            return False
        return self._search(pose, lambda reached: reached.front == ball, blocked=pose.front) is not None

    def _approach(self, goal: Callable[[_Pose], bool], act: int) -> int:
        """The first action of a shortest way to a pose that meets `goal`, or `act` if this one does."""
        start = _Pose((int(self.env.agent_pos[0]), int(self.env.agent_pos[1])), int(self.env.agent_dir))
        way = self._search(start, goal)
        if way is None:
            raise RuntimeError(f"no way on in this level:\n{self.env.pprint_grid()}")
        if not way:
            return int(act)
        if way[0] == Actions.forward:
            ahead = self.env.grid.get(*start.front)
            if isinstance(ahead, Door) and not ahead.is_open:
                return int(Actions.toggle)
        return int(way[0])

    def _search(self, start: _Pose, goal: Callable[[_Pose], bool], blocked: Cell | None = None) -> list[int] | None:
        """Turns and moves of a shortest way, doors that aren't locked counted as open; None if there's none."""
        ways: dict[_Pose, list[int]] = {start: []}
        queue = deque([start])
        while queue:
            pose = queue.popleft()
            if goal(pose):
                return ways[pose]
            for action, reached in (
                (Actions.left, _Pose(pose.cell, (pose.direction - 1) % 4)),
                (Actions.right, _Pose(pose.cell, (pose.direction + 1) % 4)),
                (Actions.forward, _Pose(pose.front, pose.direction)),
            ):
                enterable = reached.cell == pose.cell or (reached.cell != blocked and self._enterable(reached.cell))
                if enterable and reached not in ways:
                    ways[reached] = [*ways[pose], int(action)]
                    queue.append(reached)
        return None

    def _enterable(self, cell: Cell) -> bool:
        thing = self.env.grid.get(*cell)
        return thing is None or (isinstance(thing, Door) and not thing.is_locked)
