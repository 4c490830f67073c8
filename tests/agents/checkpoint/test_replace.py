"""Files replaced whole or not at all."""

import itertools
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.checkpoint import CheckpointError, CheckpointSeries, read, write
from agents.checkpoint.replace import replacing
from tests.agents.checkpoint.processes import FORK, forked, kill


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save_for_ever(folder: Path, saved: Any) -> None:
    """Writes checkpoints of 2 MB, one after the other, and counts them in shared memory."""
    series = CheckpointSeries(folder, keep=3)
    start = series.newest().step + 1 if series.steps() else 0
    for step in itertools.count(start):
        series.save(step, {"step": step, "numbers": np.full(250_000, step)})
        saved.value = step


def test_killed_at_any_moment_the_last_checkpoint_is_whole(tmp_path: Path) -> None:
    """Would catch: a file that is written in place, the old one removed before the new one is there, a checkpoint that
    was promised and isn't found, leftovers that pile up."""
    series, rng, saved = CheckpointSeries(tmp_path, keep=3), random.Random(0), FORK.Value("q", -1)
    for _ in range(20):
        before = saved.value
        with forked(save_for_ever, tmp_path, saved) as process:
            while saved.value == before:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.04))
            kill(process)
        found = series.newest()
        assert found.skipped == []
        assert found.step >= saved.value
        assert found.tree["step"] == found.step
        assert (found.tree["numbers"] == found.step).all()
        saved.value = found.step
        assert len(names(tmp_path)) <= 5  # three, one more before it is pruned, and one leftover
    series.save(found.step + 1, {})
    assert len(names(tmp_path)) == 3


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    """Would catch: a folder that fills with what killed processes left; other people's hidden files removed; a file
    removed that a live process, or this one, is writing; waiting on a pipe of such a name."""
    leftover = tmp_path / f".expire-span-{'0' * 16}.partial"
    leftover.write_bytes(b"half a checkpoint")
    others = {".expire-span.partial", f".expire-span-{'g' * 16}.partial", f"x.expire-span-{'0' * 16}.partial"}
    for name in others:
        (tmp_path / name).write_bytes(b"not ours")
    pipe, link = f".expire-span-{'1' * 16}.partial", f".expire-span-{'2' * 16}.partial"
    os.mkfifo(tmp_path / pipe)
    (tmp_path / link).symlink_to(tmp_path / ".expire-span.partial")

    with replacing(tmp_path / "mine", 4) as file:
        before = set(names(tmp_path))
        assert leftover.name not in before
        write(tmp_path / "other", 1)
        assert set(names(tmp_path)) == before | {"other"}
        file.write(b"mine")
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert set(names(tmp_path)) == others | {pipe, link, "mine", "other"}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Would catch: a file that is emptied before its tree is known to be good, a leftover after an exception."""
    write(tmp_path / "x", "old")
    with pytest.raises(CheckpointError, match="doesn't hold"):
        write(tmp_path / "x", object())

    def interrupted() -> None:
        with replacing(tmp_path / "x", 10) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to let a file grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_system_refuses_in_the_middle(tmp_path: Path) -> None:
    """Would catch: an OSError that isn't ours, half a file at the path or beside it."""
    write(tmp_path / "x", "old")
    with largest_file(1_000_000), pytest.raises(CheckpointError, match="can't be written: File too large: look at"):
        write(tmp_path / "x", np.zeros(2_000_000))
    assert read(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


FULL_DISK = """
import shutil, sys
import numpy as np
from agents.checkpoint import CheckpointError, read, write
path, big = sys.argv[1] + "/x", np.zeros(500_000)
write(path, "old")
usage = shutil.disk_usage
for shutil.disk_usage in (usage, lambda folder: usage("/")):  # asked truly, then as if others filled it meanwhile
    try:
        write(path, big)
    except CheckpointError as error:
        print(error)
    assert read(path) == "old"
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """Would catch: a disk that is full before or in the middle of writing, which costs the old checkpoint too."""
    script = (
        f"mount -t tmpfs -o size=2m tmpfs {tmp_path} && {sys.executable} -c '{FULL_DISK}' {tmp_path}; ls -A {tmp_path}"
    )
    allowed = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(allowed, capture_output=True).returncode != 0:
        pytest.skip("to mount a small disk takes the rights of root, in a namespace of one's own")
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert result.stderr == ""
    before, middle, left = result.stdout.splitlines()
    assert f"it needs 4.0 MB, and {tmp_path} has 2.1 MB left: free some, or give another folder" in before
    assert "x can't be written: No space left on device: look at the folder" in middle
    assert left == "x"


def test_the_disk_has_it_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: a missing or misplaced fsync, after which a power cut leaves a name without its content, or no
    name at all."""
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(file: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def watched_replace(source: Path, target: Path) -> None:
        assert source.parent == target.parent
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write(tmp_path / "x", 1)
    assert order == ["file", "rename", "folder"]


def test_a_file_may_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    """Would catch: the rights of a temporary file, which only its owner may read."""
    old = os.umask(0o027)
    try:
        write(tmp_path / "x", 1)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_folders_are_made(tmp_path: Path) -> None:
    """Would catch: hours of training that can't be saved since nobody made the folder; a file in a folder's place."""
    write(tmp_path / "a" / "b" / "x", 1)
    assert read(tmp_path / "a" / "b" / "x") == 1
    with pytest.raises(CheckpointError, match="can't be written: "):
        write(tmp_path / "a" / "b" / "x" / "y", 1)
