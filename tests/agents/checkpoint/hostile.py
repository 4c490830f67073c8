"""Files that are damaged or made to do harm, always the same ones."""

import copy
import gzip
import hashlib
import io
import itertools
import json
import pickle
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from agents.checkpoint import header, strict_json, write
from agents.checkpoint.tree import MAX_DEPTH

TREE = {
    "weights": torch.linspace(0, 1, 24).reshape(2, 3, 4),
    "flags": torch.tensor([True, False, True]),
    "counts": [1, 2.5, torch.arange(4, dtype=torch.int16)],
    "name": "a tree",
}
_DIGEST = slice(8 + header.DIGEST.start, 8 + header.DIGEST.stop)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self._marker), "w")


def hostile_files(folder: Path, marker: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents, at least 300.

    Args:
        folder: for one good file, which the damaged ones are made from.
        marker: the path of a file that is made when one of them gets its code run.
    """
    write(folder / "good", TREE)
    good = (folder / "good").read_bytes()
    (folder / "good").unlink()
    rng = random.Random(0)
    yield from _truncated(good, rng)
    yield from _flipped(good, rng)
    yield from _wrong_lengths(good)
    yield from _wrong_entries(good)
    yield from _wrong_headers(good)
    yield from _wrong_documents(good)
    yield from _costly()
    yield from _of_others(good, marker)


def _truncated(good: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    begin = 8 + int.from_bytes(good[:8], "little")
    edges = (0, 1, 7, 8, 9, begin - 1, begin, begin + 1, len(good) - 1)
    for length in sorted({*edges, *rng.sample(range(len(good)), 50)}):
        yield f"cut to {length}", good[:length]
    for more in (b"\0", b" ", good):
        yield f"{len(more)} bytes more", good + more


def _flipped(good: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    edges = (*range(8), _DIGEST.start - 1, _DIGEST.start, _DIGEST.stop - 1, _DIGEST.stop, len(good) - 1)
    for position in sorted({*edges, *rng.sample(range(len(good)), 90)}):
        bit = rng.randrange(8)
        content = bytearray(good)
        content[position] ^= 1 << bit
        yield f"bit {bit} of byte {position}", bytes(content)


def _wrong_lengths(good: bytes) -> Iterator[tuple[str, bytes]]:
    rest = good[8:]
    for length in (0, 1, len(rest), len(rest) + 1, header.MAX_BYTES, header.MAX_BYTES + 1, 2**31, 2**63, 2**64 - 1):
        yield f"header of {length}", length.to_bytes(8, "little") + rest
    yield "zeros", bytes(5000)
    yield "header of spaces", (4096).to_bytes(8, "little") + b" " * 8192


def sealed(encoded: str, data: bytes) -> bytes:
    """A file with this header and a checksum that is right, wherever the header has its place for it."""
    content = bytearray(len(encoded).to_bytes(8, "little") + encoded.encode() + data)
    if bytes(content[_DIGEST]) == header.NO_DIGEST:
        content[_DIGEST] = hashlib.sha256(content).hexdigest().encode()
    return bytes(content)


def _parts(good: bytes) -> tuple[dict[str, Any], bytes]:
    """A good file's header, with zeros for the checksum, and its data."""
    begin = 8 + int.from_bytes(good[:8], "little")
    parsed = json.loads(good[8:begin])
    parsed["__metadata__"]["sha256"] = header.NO_DIGEST.decode()
    return parsed, good[begin:]


def _wrong_entries(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Tensors that are described wrongly, under a right checksum."""
    parsed, data = _parts(good)
    end = len(data)
    changes: dict[str, list[Any]] = {
        "data_offsets": [
            *([96, 0], [0, 97], [0, 95], [4, 100], [-4, 92], [-96, 0], [0, 0], [96, 96], [1, 97], [end, end + 96]),
            *([0, 2**31], [0, 2**63], [2**63, 2**63 + 96], [2**64, 2**64 + 96], [-(2**63), 2**63], [0, 10**19]),
            *([0.0, 96.0], ["0", "96"], [None, 96], [False, 96], [[0], 96], [0], [0, 96, 96], [], {}, None, 96, "0,96"),
        ],
        "dtype": [
            *("F64", "F16", "I8", "BOOL", "f32", "F32 ", "F8_E4M3", "F4", "C64", "O", "", "float32", "torch.float32"),
            *("os.system", 32, None, ["F32"], {"F32": 1}, True),
        ],
        "shape": [
            *([2, 3, 5], [24, 2], [], [0], [-2, -3, 4], [2, 3, -4], [2**32, 2**32], [2**62, 2**62, 0], [0, 2**63]),
            *(
                [2**63],
                [10**19],
                [24.0],
                ["24"],
                [True, 24],
                [None],
                [[24]],
                [1] * 65,
                [1] * 10_000 + [24],
                24,
                "24",
                None,
                {},
            ),
        ],
    }
    for field, values in changes.items():
        for value in values:
            changed = copy.deepcopy(parsed)
            changed["/weights"][field] = value
            yield f"{field} {str(value)[:40]}", sealed(json.dumps(changed, separators=(",", ":")), data)
    offsets = {name: entry["data_offsets"] for name, entry in parsed.items() if name != "__metadata__"}
    for one, other in itertools.permutations(offsets, 2):
        changed = copy.deepcopy(parsed)
        changed[one]["data_offsets"] = offsets[other]
        yield f"{one[1:3]} where {other[1:3]} is", sealed(json.dumps(changed, separators=(",", ":")), data)
    entries: tuple[Any, ...] = (None, 1, "x", [], {}, {"dtype": "F32"}, parsed["/weights"] | {"more": 1})
    for entry in entries:
        changed = parsed | {"/weights": entry}
        yield f"entry {str(entry)[:40]}", sealed(json.dumps(changed, separators=(",", ":")), data)
    gap = copy.deepcopy(parsed)
    gap["/flags"]["data_offsets"] = [offset + 8 for offset in offsets["/flags"]]
    begin = offsets["/flags"][0]
    yield "a gap", sealed(json.dumps(gap, separators=(",", ":")), data[:begin] + bytes(8) + data[begin:])
    more = copy.deepcopy(parsed)
    more["__metadata__"]["document"] = parsed["__metadata__"]["document"][:-1] + ',"more":["tensor"]}'
    more["/more"] = {"dtype": "F32", "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}
    yield "empty and impossible", sealed(json.dumps(more, separators=(",", ":")), data)
    for size in (len(data) - 1, len(data) + 1, 0):
        yield f"{size} bytes of data", sealed(json.dumps(parsed, separators=(",", ":")), (data * 2)[:size])


def _wrong_headers(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Headers that are no header of ours, under a right checksum where there can be one."""
    parsed, data = _parts(good)
    text = json.dumps(parsed, separators=(",", ":"))
    metadata = parsed["__metadata__"]
    for header_text in (
        *(
            "[]",
            "null",
            "1",
            '"x"',
            "{}",
            "{} {}",
            '{"a"',
            "{'a':1}",
            '{"__metadata__":[]}',
            '{"__metadata__":{}}',
            "{\ufeff}",
        ),
        *("[" * 5000, "{" * 5000, '{"a":' * 5000, '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
        text.replace(',"/weights"', ',"/flags":{},"/weights"'),
        text.replace(',"/weights"', ',"/weights":{},"/weights"'),
        text.replace('"dtype":"F32"', '"dtype":"F32","dtype":"F32"'),
        text.replace('"version":"1"', '"version":"1","version":"1"'),
        text.replace('"version":"1"', '"version":"1","\\u0076ersion":"1"'),
        f'{text[:-1]},"__metadata__":{json.dumps(metadata)}}}',
        f"{text[:-1]},}}",
        *(
            text.replace("[0,96]", offsets)
            for offsets in ("[NaN,96]", "[0,Infinity]", "[-Infinity,96]", "[0,1e999]", "[0,9.6e1]")
        ),
        *(text.replace("[0,96]", f"[0,{'9' * digits}]") for digits in (21, 5000, 1_000_000)),
        text + "\0",
        text + "x",
        text + " \n{}",
    ):
        yield f"header {header_text[-30:]!r}", sealed(header_text, data)
    for name in ("../../etc/passwd", "/etc/cron.d/x", "C:\\x", "a\0b", "\u202e", "x" * 1_000_000, "", "weights"):
        renamed = {key if key != "/weights" else name: value for key, value in parsed.items()}
        yield f"tensor {name[:20]!r}", sealed(json.dumps(renamed, separators=(",", ":")), data)
    fields: tuple[tuple[str, Any], ...] = (
        *(("version", version) for version in ("0", "2", "1.0", "", " 1", 1, None, ["1"], "9" * 10_000)),
        *(("format", other) for other in ("pt", "", None, 1, "Expire-Span Checkpoint")),
        *(("sha256", digest) for digest in ("", "0" * 63, "0" * 65, None, 0, "\u0660" * 64, "A" * 64)),
        *(("document", document) for document in (None, 1, True)),
        ("more", "x"),
    )
    for field, value in fields:
        changed = parsed | {"__metadata__": metadata | {field: value}}
        yield f"{field} {str(value)[:20]!r}", sealed(json.dumps(changed, separators=(",", ":")), data)
    for missing in metadata:
        rest = {key: value for key, value in metadata.items() if key != missing}
        yield f"no {missing}", sealed(json.dumps(parsed | {"__metadata__": rest}, separators=(",", ":")), data)
    yield "checksum of zeros", len(text).to_bytes(8, "little") + text.encode() + data
    yield "header not UTF-8", sealed(text.replace("/flags", "/flXgs"), data).replace(b"/flXgs", b"/fl\xffgs")


def _wrong_documents(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Documents that don't fit the tensors, under a right checksum."""
    parsed, data = _parts(good)
    tree = json.loads(parsed["__metadata__"]["document"])
    trees: list[Any] = [
        *(None, 1, "x", [], {}, ["list"], ["tensor"], ["array"]),
        *({key: value for key, value in tree.items() if key != missing} for missing in tree if missing != "name"),
        *(
            tree | {"weights": node}
            for node in (["scalar"], ["tensor", "x"], ["Tensor"], [["tensor"]], "tensor", None, [])
        ),
        *(
            tree | {"more": node}
            for node in (["tensor"], ["array"], ["scalar"], ["pickle", "gASV"], ["int", "1"], ["float", "x"])
        ),
        *(
            tree | {"more": node}
            for node in (["int", "0x" + "g" * 9], ["int", 7], ["float", 7], ["int"], ["float"], [None])
        ),
        tree | {"counts": tree["counts"][::-1]},
        tree | {"counts": ["list", tree["counts"]]},
        tree | {"a": {"/weights": ["tensor"]}},
    ]
    documents = [json.dumps(tree) for tree in trees]
    documents += [
        "",
        "{",
        json.dumps(tree)[:-1],
        json.dumps(tree) * 2,
        "NaN",
        '{"name":Infinity}',
        '{"a":1,"a":1}',
        "1e400",
    ]
    deep = MAX_DEPTH + 2
    documents += ['["list",' * deep + "1" + "]" * deep, '{"a":' * deep + "1" + "}" * deep, "[" * 1_000_000]
    documents += [
        "1" * 1_000_000,
        "0." + "1" * 1_000_000 + "e999999",
        '{"\\ud800":1}',
        '"' + '\\"' * 500_000,
        "\\" * 500_000,
    ]
    for document in documents:
        changed = parsed | {"__metadata__": parsed["__metadata__"] | {"document": document}}
        yield f"document {document[:30]}", sealed(json.dumps(changed, separators=(",", ":")), data)
    begin, _ = parsed["/flags"]["data_offsets"]
    wrong = data[:begin] + b"\2" + data[begin + 1 :]
    yield "a truth value of 2", sealed(json.dumps(parsed, separators=(",", ":")), wrong)


def _costly() -> Iterator[tuple[str, bytes]]:
    """The largest headers and documents that are looked into, filled with what costs most, and a little wrong at the
    end."""
    most, room = strict_json.MAX_TOKENS, header.MAX_BYTES
    fillings = {
        "lists": itertools.repeat("[]", most // 3 - 10),
        "dictionaries": itertools.repeat("{}", most // 3 - 10),
        "texts": (f'"{number:x}"' for number in range(most // 2 - 10)),
        "numbers": itertools.repeat("0.12345", most - 10),
        "whole numbers": itertools.repeat("12345678", most - 10),
        "keys": (f'{{"{number:x}":0}}' for number in range(most // 4 - 10)),
        "nothing": itertools.repeat("", 2 * most),
        "too many dictionaries": itertools.repeat('{"":0}', room // 8),
        "brackets": itertools.repeat("[", room // 2),
    }
    keys = ",".join(f'"{number:x}":0' for number in range(most // 2 - 10))
    wides = ",".join(f'"\\ud83d\\ude00{number:x}":""' for number in range(most // 3 - 10))
    texts = {name: f"[{','.join(items)},]" for name, items in fillings.items()}
    texts |= {"one dictionary": f"{{{keys},}}", "wide letters": f"{{{wides},}}"}
    texts |= {"one text": '"' + "x" * (room - 500), "escapes": '"' + "\\\\" * (room // 2 - 500)}
    for name, text in texts.items():
        yield f"header of many {name}", sealed('{"a":' + text[: room - 6], b"")
        metadata = {"sha256": header.NO_DIGEST.decode(), "format": header.FORMAT, "version": header.VERSION}
        room_left = room - 300 - text.count('"') - text.count("\\")
        document = json.dumps({"__metadata__": metadata | {"document": text[:room_left]}}, separators=(",", ":"))
        yield f"document of many {name}", sealed(document, b"")
    entries = {
        f"{number:x}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for number in range(header.MAX_TENSORS)
    }
    metadata["document"] = "{}"
    for more in (0, 1):
        entries |= {f"more {more}": entries["0"]} if more else {}
        text = json.dumps({"__metadata__": metadata} | entries, separators=(",", ":"))
        yield f"{len(entries)} empty tensors", sealed(text, b"")


def _of_others(good: bytes, marker: Path) -> Iterator[tuple[str, bytes]]:
    """Files of other kinds, some of which run code when their own reader reads them."""
    payload = Payload(marker)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(payload, protocol)
        yield f"pickle {protocol}", pickled
        yield f"pickle {protocol} after a good file", good + pickled
        yield f"pickle {protocol} in place of the data", good[: 8 + int.from_bytes(good[:8], "little")] + pickled
        yield f"pickle {protocol} as header", len(pickled).to_bytes(8, "little") + pickled
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save({"a": torch.ones(3), "payload": payload}, buffer, _use_new_zipfile_serialization=zipped)
        yield f"torch.save, zip {zipped}", buffer.getvalue()
    model = {"data": pickle.dumps(payload), "policy.pth": pickle.dumps(payload), "_stable_baselines3_version": b"2.7.0"}
    bomb = {"archive/data.pkl": bytes(50_000_000)}
    for name, members in {"model.zip": model, "zip bomb": bomb, "zip of nothing": {}}.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        yield name, buffer.getvalue()
        yield f"{name} after a good file", good + buffer.getvalue()
        yield f"{name} cut off", buffer.getvalue()[:-30]
    yield "gzip bomb", gzip.compress(bytes(10_000_000))
    yield "safetensors of another", safetensors.torch.save({"weight": torch.ones(3)})
    yield "safetensors of another with metadata", safetensors.torch.save({"weight": torch.ones(3)}, {"format": "pt"})
    yield "safetensors of nobody", safetensors.torch.save({})
    yield "good file twice", good * 2
    yield "text", b"step,reward\n1,0.5\n"
    yield "text as long", b'{"a": 1}' * 1000
