"""Locks that the kernel keeps: whoever dies has given them back.

`flock` belongs to an open file and not to a process's number, so it is right across containers, and on network file
systems that have it. Where there is none (Windows, some network file systems) nothing is locked.
"""

import errno
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.checkpoint.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""The file in a folder that is locked. It stays: to remove it would let two others lock two files of this name."""

_HOLDER = re.compile(rb"process (\d{1,20}) on ([\w.-]{1,255})")
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}
_held: set[int] = set()


def try_lock(file: int) -> bool:
    """Locks an open file, without waiting, until it is closed or its process ends.

    Args:
        file: its descriptor.

    Returns:
        False if somebody else has it.

    Raises:
        OSError: with one of the codes of `no_locks`, where there are no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "this system has no flock")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def no_locks(error: OSError) -> bool:
    """Whether `try_lock` failed because the system or the file system has no locks."""
    return error.errno in _NO_LOCKS


@contextmanager
def folder_lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Holds a folder, say that of a run, against every other process and thread that asks for it.

    Where there are no locks it warns, and holds nothing.

    Args:
        folder: made if it isn't there.

    Raises:
        CheckpointError: if somebody else holds it, naming the process, or it can't be written in.
    """
    path = Path(folder) / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not a plain `open`: that would empty a file that somebody else has locked, or wait for a pipe's other end.
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        raise CheckpointError(
            f"{folder} can't be locked: {path}: {error.strerror}: give a folder that can be written in"
        ) from error
    _held.add(file)
    try:
        _lock(file, folder)
        yield
    finally:
        if file in _held:  # a forked child that comes here has closed it already
            _held.discard(file)
            os.close(file)


def _lock(file: int, folder: str | os.PathLike[str]) -> None:
    try:
        locked = try_lock(file)
    except OSError as error:
        if not no_locks(error):
            raise CheckpointError(f"{folder} can't be locked: {error.strerror}: give another folder") from error
        warnings.warn(f"{folder} isn't locked: {error.strerror}; see that no other process uses it", stacklevel=4)
        return
    if not locked:
        # What is read was written by the holder, or by nobody yet.
        found = _HOLDER.match(os.pread(file, 512, 0))
        holder = f"process {found[1].decode()} on {found[2].decode()}" if found else "another process"
        raise CheckpointError(f"{folder} is in use by {holder}: wait until it has ended, or give another folder")
    with suppress(OSError):  # a full disk takes no name, and a lock all the same
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _close_in_child() -> None:
    """A forked child has the open files of its parent, and with them its locks, even when the parent is killed."""
    for file in _held:
        with suppress(OSError):
            os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
