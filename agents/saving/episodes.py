"""The window of newest episodes that a model's statistics are of, as a tree, and back."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from agents.checkpoint import CheckpointError, Tree

_EPISODE: dict[str, type[Any]] = {"r": np.float64, "l": np.int64, "t": np.float64}
"""What is kept of an episode, by Monitor's names: its return and length, and when it ended."""


def episodes_to_tree(infos: Iterable[dict[str, Any]]) -> Tree:
    """Arrays of what Monitor says of episodes, and of what else is a number of each (its `info_keywords`): of single
    values a file holds only so many."""
    every = list(infos)
    shared = [name for name in (every[0] if every else {}) if all(_is_number(info.get(name)) for info in every)]
    names = [*_EPISODE, *(name for name in shared if name not in _EPISODE)]
    columns = {name: [info.get(name) for info in every] for name in names}
    return {
        name: np.nan_to_num([value if _is_number(value) else 0 for value in column]).astype(_EPISODE.get(name, float))
        for name, column in columns.items()
    }


def successes_to_tree(successes: Iterable[Any]) -> Tree:
    """Which of the episodes succeeded, as an array."""
    return np.array([bool(won) for won in successes], np.bool_)


def windows_from_tree(episodes: Tree, successes: Tree, size: int) -> tuple[deque[dict[str, Any]], deque[bool]]:
    """What `episodes_to_tree` and `successes_to_tree` made, as SB3 keeps it: of so many episodes, the newest.

    Raises:
        CheckpointError: if they are no such arrays.
    """
    if isinstance(episodes, list) and isinstance(successes, list):
        # Models of before have them one by one.
        episodes, successes = episodes_to_tree(episodes), successes_to_tree(successes)
    if not isinstance(episodes, dict) or not _EPISODE.keys() <= episodes.keys():
        raise CheckpointError("the last episodes have no r, l or t: take another checkpoint")
    columns = [_column(tree, name, _EPISODE.get(name, np.float64)) for name, tree in episodes.items()]
    if len(set(map(len, columns))) > 1:
        raise CheckpointError("the last episodes have more of r, l or t than of the others: take another checkpoint")
    rows = (dict(zip(episodes, row, strict=True)) for row in zip(*columns, strict=True))
    return deque(rows, maxlen=size), deque(_column(successes, "successes", np.bool_), maxlen=size)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _column(tree: Tree, name: str, dtype: type[Any]) -> list[Any]:
    """The values of an array of one dimension."""
    if not isinstance(tree, np.ndarray) or tree.dtype != dtype or tree.ndim != 1:
        raise CheckpointError(f"{name} of the last episodes isn't a row of {dtype.__name__}: take another checkpoint")
    values: list[Any] = tree.tolist()
    return values
