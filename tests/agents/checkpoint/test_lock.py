"""A folder held by one at a time."""

import os
import signal
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from agents.checkpoint import CheckpointError, folder_lock, lock
from tests.agents.checkpoint.processes import FORK, forked, kill


def hold(folder: Path, pipe: Connection) -> None:
    """Holds the folder until it is killed."""
    with folder_lock(folder):
        pipe.send(os.getpid())
        signal.pause()


def hold_with_a_child(folder: Path, pipe: Connection) -> None:
    """Holds the folder, and forks a child that knows nothing of it."""
    with folder_lock(folder):
        child = os.fork()
        if child == 0:
            signal.pause()
        pipe.send(child)
        signal.pause()


def test_two_processes_cannot_both_hold_it(tmp_path: Path) -> None:
    """Would catch: two trainings that write over one another; an error that doesn't say who is there; a lock that
    stays when its process was killed."""
    for _ in range(3):
        ours, theirs = FORK.Pipe()
        with forked(hold, tmp_path, theirs) as process:
            pid = ours.recv()
            with pytest.raises(CheckpointError, match="is in use by") as error, folder_lock(tmp_path):
                pass
            assert f"{tmp_path} is in use by process {pid} on {socket.gethostname()}: wait" in str(error.value)
            kill(process)
            with folder_lock(tmp_path):
                pass


def test_a_childs_child_does_not_hold_it(tmp_path: Path) -> None:
    """Would catch: a lock that outlives its killed process in the environments' worker processes."""
    ours, theirs = FORK.Pipe()
    with forked(hold_with_a_child, tmp_path, theirs) as process:
        child = ours.recv()
        try:
            time.sleep(0.05)
            with pytest.raises(CheckpointError), folder_lock(tmp_path):
                pass
            kill(process)
            os.kill(child, 0)  # it is there
            with folder_lock(tmp_path):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_one_process_holds_it_once(tmp_path: Path) -> None:
    """Would catch: locks of processes, not of open files, which a second training in the same process would pass and
    then give back for both."""
    with folder_lock(tmp_path / "run"):
        with pytest.raises(CheckpointError, match=f"process {os.getpid()} on"), folder_lock(tmp_path / "run"):
            pass
        with pytest.raises(CheckpointError), folder_lock(tmp_path / "run"):
            pass
        with folder_lock(tmp_path / "another"):
            pass
    with pytest.raises(ZeroDivisionError), folder_lock(tmp_path / "run"):
        _ = 1 / 0
    with folder_lock(tmp_path / "run"):
        pass


def test_what_the_lock_file_says_is_not_believed(tmp_path: Path) -> None:
    """Would catch: escape sequences or pages of text in an error, from a file that somebody else wrote."""
    with folder_lock(tmp_path):
        (tmp_path / lock.LOCK).write_bytes(b"process 1 on \x1b[2J" + b"x" * 10_000)
        with pytest.raises(CheckpointError, match="in use by another process: wait"), folder_lock(tmp_path):
            pass


def test_folders_that_cannot_be_locked(tmp_path: Path) -> None:
    """Would catch: an OSError, for a file in the folder's place or in the lock's."""
    (tmp_path / "file").touch()
    (tmp_path / "run" / lock.LOCK).mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "run"):
        with pytest.raises(CheckpointError, match=r"can't be locked: .*: give a folder"), folder_lock(folder):
            pass


def test_without_locks_it_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: a system without `flock` where nothing can be trained, or isn't said to be unprotected."""
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.warns(UserWarning, match="isn't locked: this system has no flock"), folder_lock(tmp_path):
        pass
