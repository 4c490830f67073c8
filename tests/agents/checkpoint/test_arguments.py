"""Arguments as trees."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from agents import checkpoint
from agents.checkpoint import CheckpointError
from agents.checkpoint.arguments import argument_from_tree, argument_to_tree

TABLES: list[dict[Any, Any]] = [
    {"name": 1, 2: "two", 0.5: [None], True: False},
    {(0, 1): 3, None: 2, (): {}},
    {(("a", None), (1.5,)): {None: (1,)}},
    {nn.Tanh: nn.ReLU},
]


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_dictionaries_of_any_keys_come_back(tmp_path: Path, table: dict[Any, Any]) -> None:
    """Would catch: a file that is written, and then refused for the keys of a dictionary in it."""
    checkpoint.write(tmp_path / "t", argument_to_tree(table))
    read = argument_from_tree(checkpoint.read(tmp_path / "t"), "table")
    assert read == table
    assert list(map(type, read)) == list(map(type, table))


@pytest.mark.parametrize(
    "pair", [[["a"], 1], [{"pairs": []}, 1], [{"tuple": [["a"]]}, 1], [1], [1, 2, 3], "ab", {"tuple": [1, 2]}], ids=str
)
def test_what_is_no_key_or_no_pair_is_refused(pair: Any) -> None:
    """Would catch: a TypeError of a dictionary's for a file that lies."""
    with pytest.raises(CheckpointError, match=r"^table is described as .*: take another checkpoint$"):
        argument_from_tree({"pairs": [pair]}, "table")


def test_a_function_is_no_key() -> None:
    """Would catch: a key that silently becomes another."""
    with pytest.raises(CheckpointError, match=r"custom_objects=\{'table'"):
        argument_from_tree(argument_to_tree({len: 1}), "table")
