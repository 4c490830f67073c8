"""A folder of numbered checkpoints, of which the newest few are kept."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from agents.checkpoint import file
from agents.checkpoint.errors import CheckpointError
from agents.checkpoint.tree import Tree

_NAME = re.compile(r"step-([0-9]{12})\.safetensors")
_MAX_STEP = 10**12 - 1


class Newest(NamedTuple):
    """The newest checkpoint that reads whole."""

    step: int
    path: Path
    tree: Tree
    skipped: list[str]
    """Newer ones that don't, each with the reason."""


class CheckpointSeries:
    """Numbered checkpoints in a folder, `step-000000123456.safetensors`. Their order is that of the numbers.

    Only one process may save to it at a time, see `folder_lock`.

    Args:
        folder: made at the first `save`.
        keep: checkpoints kept, at least 1.

    Raises:
        ValueError: if `keep` is less.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 5) -> None:
        if keep < 1:
            raise ValueError(f"keep={keep} must be at least 1")
        self.folder = Path(folder)
        self.keep = keep

    def save(self, step: int, tree: Tree) -> Path:
        """Writes a checkpoint, then removes all but the newest `keep`.

        At least one of those that are left has been read to its end by then; a damaged one never replaces a good one.

        Args:
            step: its number, such as the environment steps done; one that is there already is replaced.
            tree: see `Tree`.

        Returns:
            Its path.

        Raises:
            CheckpointError: if it can't be written, or a later one is there that reads whole: training would go on
                from that, and not from this.
        """
        if not 0 <= step <= _MAX_STEP:
            raise CheckpointError(f"step={step} can't number a checkpoint: take 0 to {_MAX_STEP}")
        later = next((n for n in self.steps() if n > step and self._is_whole(n)), None)
        if later is not None:
            raise CheckpointError(
                f"{self.folder} has a checkpoint of step {later} already, later than {step}: call "
                f"discard_after({step}) first if it is to be given up, or take another folder"
            )
        file.write(self._path(step), tree)
        kept, excess = self.steps()[: self.keep], self.steps()[self.keep :]
        if excess and not any(map(self._is_whole, kept)):
            last_good = next(filter(self._is_whole, excess), None)
            excess = [n for n in excess if n != last_good]
        self._remove(excess)
        return self._path(step)

    def newest(self) -> Newest:
        """The checkpoint with the greatest number that reads whole.

        Raises:
            CheckpointError: if there is none, with the reasons.
        """
        skipped: list[str] = []
        for step in self.steps():
            try:
                return Newest(step, self._path(step), file.read(self._path(step)), skipped)
            except CheckpointError as error:
                skipped.append(str(error))
        reasons = f": {'; '.join(skipped[:5])}" if skipped else " (step-<12 digits>.safetensors)"
        raise CheckpointError(
            f"{self.folder} has no checkpoint that can be read{reasons}: give another folder, or begin anew"
        )

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints with greater numbers, for a training that goes on from `step`.

        Raises:
            CheckpointError: if they can't be removed.
        """
        self._remove([n for n in self.steps() if n > step])

    def steps(self) -> list[int]:
        """The numbers of the checkpoints that are there, damaged ones too, the greatest first."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir() if path.is_file())
        return sorted((int(match[1]) for match in names if match), reverse=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:012d}.safetensors"

    def _is_whole(self, step: int) -> bool:
        try:
            file.verify(self._path(step))
        except CheckpointError:
            return False
        return True

    def _remove(self, steps: list[int]) -> None:
        try:
            for step in steps:
                self._path(step).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{self.folder} keeps old checkpoints: {error.strerror}: look at its permissions"
            ) from error
