"""The header of a checkpoint: that of a safetensors file, with everything in it checked.

    8 bytes   N, little-endian
    N bytes   JSON: `__metadata__`, then `{"dtype", "shape", "data_offsets"}` of each tensor; spaces to a multiple of 8
    the rest  the tensors' bytes, without gaps

The metadata begin with the SHA-256 of the whole file as it is with zeros for these 64 digits, so that they always stand
at the same place. https://github.com/huggingface/safetensors#format
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.checkpoint import strict_json
from agents.checkpoint.errors import CheckpointError, DamagedError, shown
from agents.checkpoint.tree import DTYPES, MAX_DEPTH

FORMAT, VERSION = "expire-span checkpoint", "1"
MAX_BYTES = 4 << 20
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 64
"""NumPy's limit."""

_START = b'{"__metadata__":{"sha256":"'
DIGEST = slice(len(_START), len(_START) + 64)
"""Where in the header's bytes the checksum's digits are."""
NO_DIGEST = b"0" * 64


class Entry(NamedTuple):
    """A tensor in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    """In bytes, counted from the end of the header."""
    stop: int


class Header(NamedTuple):
    """What a header says."""

    document: str
    entries: dict[str, Entry]
    """By name, as they follow one another in the file."""


def in_order(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """Tensors by name as they follow one another in the file: those of long numbers first, so that all are aligned."""
    return sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize)


def make(document: str, tensors: Mapping[str, Tensor]) -> bytes:
    """A header with zeros for the checksum.

    Raises:
        CheckpointError: if it is larger than a reader would take.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    metadata = {"sha256": NO_DIGEST.decode(), "format": FORMAT, "version": VERSION, "document": document}
    header: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, tensor in in_order(tensors):
        stop = start + tensor.numel() * tensor.dtype.itemsize
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, stop],
        }
        start = stop
    encoded = strict_json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    try:
        if len(encoded) > MAX_BYTES:
            raise DamagedError(f"its header has {len(encoded)} bytes, {MAX_BYTES} at most can be read")
        # What is written is what the reader's own rules let through.
        parse(encoded, start)
        strict_json.loads(document, MAX_DEPTH + 1)
    except DamagedError as error:
        raise CheckpointError(
            f"{error}: give it fewer and larger arrays in place of single values, and shorter texts"
        ) from None
    return encoded


def parse(encoded: bytes, data_size: int) -> Header:
    """What a header says, once everything in it is known to fit.

    Args:
        encoded: the header's bytes, `MAX_BYTES` at most.
        data_size: bytes in the file that follow it.

    Raises:
        DamagedError: if anything doesn't fit. The checksum isn't looked at.
        CheckpointError: if it is another program's, or of another version.
    """
    try:
        header = strict_json.loads(encoded.decode(), max_depth=3)
    except UnicodeDecodeError:
        raise DamagedError("its header isn't text") from None
    except DamagedError as error:
        raise DamagedError(f"its header is refused: {error}") from None
    metadata = header.pop("__metadata__", None) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise CheckpointError("it is a safetensors file of something else: give a checkpoint of expire-span")
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"its format has version {shown(metadata.get('version'))}, and this expire-span reads {VERSION}: take the "
            f"expire-span that wrote it"
        )
    match metadata:
        case {"sha256": str(digest), "document": str(document)} if len(metadata) == 4:
            placed = encoded.startswith(_START) and encoded[DIGEST] == digest.encode("ascii", "replace")
        case _:
            placed = False
    if not placed:
        raise DamagedError("its metadata aren't laid out as this format has them")
    if len(header) > MAX_TENSORS:
        raise DamagedError(f"it has {len(header)} tensors, {MAX_TENSORS} at most can be read")
    entries = [(name, _entry(name, description)) for name, description in header.items()]
    entries.sort(key=lambda item: item[1][2:])
    position = 0
    for name, entry in entries:
        if entry.start != position:
            raise DamagedError(f"its tensor {shown(name)} begins at byte {entry.start}, not at {position}")
        position = entry.stop
    if position != data_size:
        raise DamagedError(f"its tensors have {position} bytes, and {data_size} are in the file")
    return Header(document, dict(entries))


def _entry(name: str, description: Any) -> Entry:
    match description:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(stop)]}:
            plain = all(type(number) is int for number in (*shape, start, stop))
            known = len(description) == 3 and dtype in DTYPES and len(shape) <= MAX_DIMENSIONS
        case _:
            plain = known = False
    if not (plain and known):
        raise DamagedError(f"its tensor {shown(name)} is described as {shown(description)}, which isn't read here")
    itemsize = DTYPES[dtype].itemsize
    # Zeros count as ones: strides are computed for empty tensors too, and must fit in 64 bits.
    if min(shape, default=0) < 0 or math.prod(max(size, 1) for size in shape) * itemsize >= 2**63:
        raise DamagedError(f"its tensor {shown(name)} has the impossible shape {shown(shape)}")
    if start < 0 or stop - start != math.prod(shape) * itemsize:
        raise DamagedError(f"its tensor {shown(name)} has bytes {start} to {stop} for {dtype} of {shown(shape)}")
    return Entry(DTYPES[dtype], tuple(shape), start, stop)
