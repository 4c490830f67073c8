"""One file that holds a tree: written whole or not at all, read without running anything that is in it."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from agents.checkpoint import header
from agents.checkpoint.errors import CheckpointError, DamagedError
from agents.checkpoint.header import Entry, Header
from agents.checkpoint.replace import kind_of, replacing
from agents.checkpoint.tree import Tree, pack, unpack

_LENGTH = 8
"""Bytes before the header, which say how long it is."""
_CHUNK = 1 << 20
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def write(path: str | os.PathLike[str], tree: Tree) -> None:
    """Writes a tree to a file in safetensors format, which the `safetensors` package reads too.

    The file is replaced whole or not at all, and is on the disk when this returns.

    Args:
        path: the file; its folder is made if it isn't there.
        tree: see `Tree`. It must not change meanwhile.

    Raises:
        CheckpointError: if the tree holds what a checkpoint doesn't, there isn't room, or writing fails. What lay at
            `path` is then untouched.
    """
    with _about(path, "written", "look at the folder, its permissions and its disk"):
        document, tensors = pack(tree)
        encoded = header.make(document, tensors)
        ordered = [tensor for _, tensor in header.in_order(tensors) if tensor.numel()]
        parts = (len(encoded).to_bytes(_LENGTH, "little"), encoded)
        size = sum(map(len, parts)) + sum(tensor.numel() * tensor.dtype.itemsize for tensor in ordered)
        with replacing(Path(path), size) as file:
            checksum = hashlib.sha256()
            for part in parts:
                checksum.update(part)
                file.write(part)
            for tensor in ordered:
                data = _bytes_of(tensor)
                checksum.update(data)
                file.write(data)
            file.seek(_LENGTH + header.DIGEST.start)
            file.write(checksum.hexdigest().encode())


def read(path: str | os.PathLike[str]) -> Tree:
    """The tree in a file that `write` wrote, its tensors on the CPU. Nothing in the file is run or imported.

    What doesn't fit is refused before anything large is made; the checksum is looked at before any tensor is, which
    takes time in proportion to the file (about a second a gigabyte).

    Args:
        path: the file; links are followed.

    Raises:
        CheckpointError: if it isn't a checkpoint, or is damaged in any way.
    """
    with _about(path, "read", "look at the path and its permissions"), _opened(path) as file:
        document, entries = _checked(file)
        tensors = {name: _tensor(file, entry) for name, entry in entries.items()}
        return unpack(document, tensors)


def verify(path: str | os.PathLike[str]) -> None:
    """Reads a file to its end and compares the checksum; makes no tensors.

    Raises:
        CheckpointError: as `read`.
    """
    with _about(path, "read", "look at the path and its permissions"), _opened(path) as file:
        _checked(file)


@contextmanager
def _about(path: str | os.PathLike[str], verb: str, advice: str) -> Iterator[None]:
    """Names the file in errors, and makes the system's errors ours."""
    try:
        yield
    except DamagedError as error:
        raise CheckpointError(f"{os.fspath(path)} can't be {verb}: {error}: take another checkpoint") from error
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)} can't be {verb}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{os.fspath(path)} can't be {verb}: {error.strerror or error}: {advice}") from error


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    # Asked before it is opened, since opening a device may do something; nor does opening a pipe wait.
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"it is {kind_of(mode)}: give the name of a file")
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        yield file


def _checked(file: BinaryIO) -> Header:
    """The header of a file in which everything fits and the checksum is right; leaves it where the data begin."""
    size = os.fstat(file.fileno()).st_size
    length = file.read(_LENGTH)
    header_size = int.from_bytes(length, "little")
    if len(length) < _LENGTH or not 2 <= header_size <= min(header.MAX_BYTES, size - _LENGTH):
        raise _foreign(file, size)
    encoded = file.read(header_size)
    if not encoded.startswith(b"{"):
        raise _foreign(file, size)
    parsed = header.parse(encoded, size - _LENGTH - header_size)
    begin, end = header.DIGEST.start, header.DIGEST.stop
    checksum = hashlib.sha256(length + encoded[:begin] + header.NO_DIGEST + encoded[end:])
    while chunk := file.read(_CHUNK):
        checksum.update(chunk)
    if checksum.hexdigest().encode() != encoded[header.DIGEST]:
        raise DamagedError("it is damaged, its checksum is wrong")
    file.seek(_LENGTH + header_size)
    return parsed


def _foreign(file: BinaryIO, size: int) -> CheckpointError:
    """What is wrong with a file that doesn't begin as a safetensors file does."""
    file.seek(0)
    start = file.read(_CHUNK)
    if start.startswith(b"PK"):
        file.seek(max(0, size - _CHUNK))  # an archive's names stand at its end
        if b"_stable_baselines3_version" in file.read(_CHUNK):
            return CheckpointError(
                "it is Stable-Baselines3's zip, which unpickles code: save a model of ours again with this version; "
                "another algorithm's can't be loaded"
            )
        return CheckpointError(
            "it is a zip archive, as torch.save writes them with pickled code in it: give a checkpoint of expire-span"
        )
    if _PICKLE.match(start):
        return CheckpointError("it is a pickle, and reading it runs code: give a checkpoint of expire-span")
    return DamagedError("it is cut off, or no safetensors file" if size else "it is empty")


def _tensor(file: BinaryIO, entry: Entry) -> Tensor:
    """Reads the next tensor."""
    size = entry.stop - entry.start
    try:
        data = torch.empty(size, dtype=torch.uint8)
    except RuntimeError:
        raise CheckpointError(f"a tensor of {size} bytes doesn't fit in memory: free some") from None
    if file.readinto(data.numpy()) != size:  # type: ignore[attr-defined]  # a BufferedReader has it, BinaryIO doesn't say so
        raise DamagedError("it became shorter while it was read")
    if entry.dtype == torch.bool and bool((data > 1).any()):
        raise DamagedError("it has truth values that are neither 0 nor 1")
    return data.view(entry.dtype).reshape(entry.shape)


def _bytes_of(tensor: Tensor) -> memoryview:
    """A tensor's bytes, in row-major order."""
    return tensor.cpu().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().data
