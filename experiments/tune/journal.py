"""Optuna's journal as a file of JSON lines that survives the death of any process that writes to it."""

# Optuna is an extra, types can be checked without it.
# mypy: disable-error-code="import-not-found"
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import BaseJournalBackend

from experiments.errors import UserError


class Journal(BaseJournalBackend):
    """What all processes of a study have done, in order, each entry a line.

    Optuna's own file backend locks by a file that a killed process leaves behind, for which the others then wait half a
    minute, and half a line that it was writing makes the study unreadable. Here the kernel holds the lock, which ends
    with its holder, and whoever writes next cuts off half a line.

    A `JournalStorage` unpickles snapshots, but of backends that have them alone; this one has none: everything
    that is read is JSON.

    Args:
        path: the file; made if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = (0, 0)  # number of the first entry not yet read, and where it begins
        path.touch()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The entries from this number on.

        Raises:
            UserError: for a line that isn't an entry.
        """
        with self._path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            number, position = self._next if self._next[0] <= log_number_from else (0, 0)
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                number, position = number + 1, position + len(line)
                if number > log_number_from:
                    self._next = number, position
                    yield self._entry(line, number)

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise UserError(f"{self._path} is damaged: line {number} isn't a JSON object; take a new --study")
        return entry

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Adds entries; when this returns they are on the disk."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._path.open("rb+") as file:
            # Held until the file is closed, or its holder dead.
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(_end_of_last_line(file))
            file.truncate()
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())


def _end_of_last_line(file: BinaryIO) -> int:
    """Where the next line begins; what a writer that died left behind that lies beyond it."""
    end = file.seek(0, os.SEEK_END)
    block = 4096
    for start in range(end, 0, -block):
        begin = max(0, start - block)
        file.seek(begin)
        found = file.read(start - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
    return 0
