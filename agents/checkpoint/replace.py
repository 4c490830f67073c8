"""Files that are replaced whole or not at all, whatever happens to the process, the disk or the power."""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from agents.checkpoint.errors import CheckpointError
from agents.checkpoint.lock import no_locks, try_lock

_PARTIAL = re.compile(r"\.expire-span-[0-9a-f]{16}\.partial")


@contextmanager
def replacing(path: Path, size: int) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of `path` when the block ends well, and is removed otherwise.

    It lies beside `path` under a hidden name and is on the disk before it is renamed. A link is followed. What killed
    processes left in this folder is removed first.

    Args:
        path: the file; its folder is made if it isn't there.
        size: bytes that will be written.

    Raises:
        CheckpointError: if `path` is something else than a file, or there isn't room enough.
        OSError: if writing fails.
    """
    target = Path(os.path.realpath(path))
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():
        raise CheckpointError(f"it is {kind_of(target.stat().st_mode)}: give the name of a file")
    _remove_partials(folder)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise CheckpointError(
            f"it needs {_megabytes(size)}, and {folder} has {_megabytes(free)} left: free some, or give another folder"
        )
    file, partial = _create(folder)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # an open file can't be renamed there
            # Still open, and so locked: until it has its name, nobody takes it for a leftover.
            os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    _sync(folder)


def kind_of(mode: int) -> str:
    """What something that isn't a regular file is, in words.

    Args:
        mode: `st_mode`.
    """
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISSOCK: "a socket",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
    }
    return next((name for test, name in kinds.items() if test(mode)), "no regular file")


def _create(folder: Path) -> tuple[BinaryIO, Path]:
    """A new file, locked, and its path."""
    while True:
        partial = folder / f".expire-span-{secrets.token_hex(8)}.partial"
        file = partial.open("xb")
        try:
            # Between the two, another process may have found it without a lock, and removed it.
            if try_lock(file.fileno()) and partial.exists():
                return file, partial
        except OSError as error:
            if no_locks(error):
                return file, partial
            file.close()
            partial.unlink(missing_ok=True)
            raise
        file.close()


def _remove_partials(folder: Path) -> None:
    """Removes what killed processes left: files of our pattern that nobody has locked."""
    for entry in os.scandir(folder):
        # A folder where this fails for one of them can still be written in.
        with suppress(OSError):
            if _PARTIAL.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with open(entry.path, "r+b") as file:
                    if try_lock(file.fileno()):
                        os.unlink(entry.path)


def _sync(folder: Path) -> None:
    """Has the folder's new list of names on the disk; Windows opens no folders, and does this by itself."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
