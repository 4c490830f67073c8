"""Files by the names that one gives them."""

import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from agents import checkpoint
from agents.checkpoint import CheckpointError, Tree

Place = str | os.PathLike[str] | io.BufferedIOBase | IO[bytes]
"""A path, or an open binary file."""
SUFFIX = ".safetensors"


def save_tree(path: Place, tree: Tree) -> None:
    """Writes a checkpoint; a path without a suffix gets `.safetensors`."""
    if not isinstance(path, str | os.PathLike):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model" + SUFFIX)
            checkpoint.write(file, tree)
            path.write(file.read_bytes())
        return
    path = Path(path)
    checkpoint.write(path if path.suffix else path.with_name(path.name + SUFFIX), tree)


def load_tree(path: Place) -> Tree:
    """Reads a checkpoint; where there is no such file, the one of that name with another suffix (see `found`)."""
    if not isinstance(path, str | os.PathLike):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model" + SUFFIX)
            file.write_bytes(path.read())
            return checkpoint.read(file)
    return checkpoint.read(found(Path(path)))


def found(path: Path) -> Path:
    """The file, or the one of the same name that ends in `.safetensors`, `.zip` or neither, if there is exactly one.

    Callbacks of Stable-Baselines3's name their files themselves, some with `.zip` and some without a suffix. A name
    without one is `.safetensors` first, as `save_tree` makes it.

    Raises:
        CheckpointError: if there is none of them, or more than one.
    """
    if os.path.isfile(path) or not path.name:
        return path
    bare = path.with_suffix("") if path.suffix in (SUFFIX, ".zip") else path
    others = [bare.with_name(bare.name + suffix) for suffix in (SUFFIX, ".zip", "")]
    others.remove(path)
    there = [other for other in others if os.path.isfile(other)]
    if len(there) == 1 or (there and path == bare):
        return there[0]
    if there:
        raise CheckpointError(f"{path} can't be read: it isn't there, {there[0]} and {there[1]} are: name one of them")
    # Where something else than a file lies, or nobody may look, reading it says so.
    with suppress(OSError):
        if not path.exists():
            raise CheckpointError(
                f"{path} can't be read: No such file or directory, nor {others[0].name} or "
                f"{others[1].name}: look at the path"
            )
    return path
