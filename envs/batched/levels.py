"""Puts the Python environments into a given level, so that tables (and tests) can be made of the real thing."""

from collections.abc import Iterable
from typing import Any

from minigrid.minigrid_env import MiniGridEnv

from envs.view import FastView


class ScriptedDraws:
    """Stands in for an environment's `np_random` and gives the values in order.

    Args:
        values: What `integers` returns, call by call.
    """

    def __init__(self, values: Iterable[int]) -> None:
        self._values = iter(values)

    def integers(self, low: int, high: int | None = None) -> int:
        """The next value, which must be one that the environment could have drawn.

        Raises:
            ValueError: If it isn't.
        """
        value = next(self._values)
        low, high = (0, low) if high is None else (low, high)
        if not low <= value < high:
            raise ValueError(f"a draw from {low} to {high - 1} can't be {value}")
        return value


def enter_level(env: MiniGridEnv, draws: Iterable[int]) -> None:
    """Reset `env` into the level that these draws make; its own generator is gone afterwards.

    Args:
        env: A Memory task, a Corridor or an Endless T-Maze, the latter two with uniform or fixed lengths.
        draws: Memory: hallway end (only if random), start column, object (0 key, 1 ball), order of the targets
            (0 ball above, 1 key above). Corridor: length, cue, other colour among the rest, 1 if the right
            door is north. Endless T-Maze: length (unless fixed) and cue of each corridor.
    """
    generator: Any = ScriptedDraws(draws)
    env.np_random = generator
    env.reset()


class Blind(FastView):
    """Mixed in before an environment, spares it the observations: only its steps are of interest."""

    def gen_obs(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def place(self, position: tuple[int, int], direction: int) -> None:
        """Put the agent somewhere, at the episode's first step."""
        self.agent_pos, self.agent_dir, self.step_count = position, direction, 0
