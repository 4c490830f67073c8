"""Arrays that several processes share, laid out in one file by the spaces of an environment."""

import contextlib
import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from envs.shapes import KINDS, SIMPLE, check_shape, parts_of

_ALIGNMENT = 64
_NOW, _FINAL = "/", "!"
"""What names of parts of observations begin with, of those after a step and of an episode's last."""
_MEMORY = Path("/dev/shm")


class SharedArrays:
    """What a step takes and gives, for all environments, in a file that every process maps.

    Args:
        path: The file; it may be removed once every process has mapped it.
        n_envs: Number of environments, the first dimension of every array.
        observations: Box, Discrete, MultiDiscrete, MultiBinary, or a flat Dict of them.
        actions: One of the first four.

    Attributes:
        observations: An array (n_envs, …) for each part of a Dict, or one under the empty name.
        final_observations: The like, for the last observations of episodes that ended in a step.
        actions: (n_envs, …), of the space's dtype.
        rewards: (n_envs,) float32.
        dones: (n_envs,) bool.
    """

    def __init__(self, path: Path, n_envs: int, observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
        layout, size = _layout(n_envs, observations, actions)
        memory = np.memmap(path, np.uint8, "r+", shape=(size,))

        def array(name: str) -> np.ndarray:
            start, shape, dtype = layout[name]
            # A plain array: NumPy's memmap class would come along with every slice, and costs time there.
            return np.ndarray(shape, dtype, memory.data, start)

        self.observations, self.final_observations = (
            {name[1:]: array(name) for name in layout if name.startswith(mark)} for mark in (_NOW, _FINAL)
        )
        self.actions, self.rewards, self.dones = array("actions"), array("rewards"), array("dones")

    def write_observation(self, i: int, observation: Any) -> None:
        """Copies an observation of environment `i` in, converted to the dtype of its space.

        Raises:
            ValueError: If it isn't of its space's shape.
        """
        _write(self.observations, i, observation)

    def write_final_observation(self, i: int, observation: Any) -> None:
        """The like with the last observation of an episode."""
        _write(self.final_observations, i, observation)

    def read_final_observation(self, i: int) -> Any:
        """A copy of the last observation of the episode that environment `i` ended in its last step."""
        if "" in self.final_observations:
            return self.final_observations[""][i].copy()
        return {name: array[i].copy() for name, array in self.final_observations.items()}

    def read_observations(self, rows: slice) -> Any:
        """A copy of the observations of some environments: an array, or a dictionary of them."""
        if "" in self.observations:
            return self.observations[""][rows].copy()
        return {name: array[rows].copy() for name, array in self.observations.items()}


def _write(arrays: dict[str, np.ndarray], i: int, observation: Any) -> None:
    for name, array in arrays.items():
        part = observation[name] if name else observation
        check_shape(part, array.shape[1:], name)
        array[i] = part


def check_spaces(observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
    """Refuses what has no place in an array.

    Raises:
        ValueError: In one line, for spaces that aren't among those of `SharedArrays`.
    """
    if not isinstance(actions, SIMPLE):
        raise ValueError(f"{type(actions).__name__} actions can't be shared between processes, only {KINDS}")
    for name, part in parts_of(observations).items():
        if not isinstance(part, SIMPLE):
            where = f" in {name!r}" if name else ""
            raise ValueError(
                f"{type(part).__name__} observations{where} can't be shared between processes, "
                f"only {KINDS}, or a flat Dict of these"
            )


def make_file(n_envs: int, observations: gym.Space[Any], actions: gym.Space[Any]) -> Path:
    """A new file of the size that `SharedArrays` needs, in memory where there is room, else on disk.

    Raises:
        ValueError: As `check_spaces`.
        OSError: If there is no room on disk either.
    """
    check_spaces(observations, actions)
    _, size = _layout(n_envs, observations, actions)
    if _MEMORY.is_dir():
        with contextlib.suppress(OSError):
            return _zeros(size, _MEMORY)
    return _zeros(size, None)


def _zeros(size: int, folder: Path | None) -> Path:
    """A new file of zeros; None for the folder of temporary files."""
    file, name = tempfile.mkstemp(prefix="expire-span-", dir=folder)
    path = Path(name)
    try:
        # Written, not only sized: whoever touches a page that there is no room for is killed, without a word.
        with os.fdopen(file, "wb") as stream:
            stream.write(bytes(size))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def _layout(
    n_envs: int, observations: gym.Space[Any], actions: gym.Space[Any]
) -> tuple[dict[str, tuple[int, tuple[int, ...], np.dtype[Any]]], int]:
    """Start in bytes, shape and dtype of each array, and the size of all."""
    parts = parts_of(observations).items()
    entries = {f"{mark}{name}": (part.shape or (), part.dtype) for mark in (_NOW, _FINAL) for name, part in parts}
    entries |= {"actions": (actions.shape or (), actions.dtype)}
    entries |= {"rewards": ((), np.dtype(np.float32)), "dones": ((), np.dtype(np.bool_))}
    layout, size = {}, 0
    for name, (shape, dtype) in entries.items():
        kind, full = np.dtype(dtype), (n_envs, *shape)
        layout[name] = (size, full, kind)
        length = kind.itemsize * int(np.prod(full))
        size += -(-length // _ALIGNMENT) * _ALIGNMENT
    return layout, max(size, mmap.PAGESIZE)
