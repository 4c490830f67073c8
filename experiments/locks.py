"""Locks between the processes of a command. The kernel holds them, and they end with their holder, however it ends."""

import contextlib
import fcntl
from collections.abc import Iterator
from io import FileIO
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """In this block no other process is in one with the same file; waits until that is so."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Claims:
    """What this process works on, so that others can tell whether it still does.

    `take` and `is_taken` of one thing must not run at the same time: call them while `alone`.

    Args:
        folder: for the files that are locked, one for each thing; made if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileIO] = {}
        folder.mkdir(exist_ok=True)

    def take(self, name: str) -> None:
        """Claims a thing until `release`, or until this process ends."""
        file = FileIO(self._folder / name, "w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held[name] = file

    def release(self, name: str) -> None:
        """Gives a claim of this process back, and cleans up behind it."""
        self.forget(name)
        self._held.pop(name).close()

    def is_taken(self, name: str) -> bool:
        """Whether a living process, this one included, has claimed a thing."""
        try:
            file = FileIO(self._folder / name)
        except FileNotFoundError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def forget(self, name: str) -> None:
        """Removes the file of a thing that nobody works on."""
        (self._folder / name).unlink(missing_ok=True)
