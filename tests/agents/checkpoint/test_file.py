"""Checkpoint files: what is in them, and which paths are taken."""

import os
import pickle
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO

from agents.checkpoint import CheckpointError, Tree, read, verify, write
from agents.checkpoint.header import MAX_TENSORS
from agents.checkpoint.tree import DTYPES
from tests.agents.checkpoint.trees import same, trees

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


@SAME_FOLDER
@given(tree=trees())
def test_a_tree_comes_back_from_its_file(tmp_path: Path, tree: Tree) -> None:
    """Would catch: bytes of one tensor taken for another's, a dtype or shape that the header loses, an empty tensor."""
    path = tmp_path / "tree.safetensors"
    write(path, tree)
    verify(path)
    assert same(read(path), tree)
    with safetensors.safe_open(path, "pt") as file:
        assert set(file.metadata()) == {"sha256", "format", "version", "document"}


def test_the_safetensors_package_reads_the_same(tmp_path: Path) -> None:
    """Would catch: a file that only our own reader takes: gaps, a wrong header length, names or dtypes of our own."""
    tree = {name: torch.arange(5).to(dtype) for name, dtype in DTYPES.items()}
    write(tmp_path / "x", {"policy": tree, "scalar": torch.tensor(3.5), "empty": torch.empty(0, 7)})
    theirs = safetensors.torch.load_file(tmp_path / "x")
    assert len(theirs) == len(tree) + 2
    for name, tensor in tree.items():
        assert theirs[f"/policy/{name}"].dtype == tensor.dtype
        assert torch.equal(theirs[f"/policy/{name}"], tensor)
    assert theirs["/scalar"].item() == 3.5
    assert theirs["/empty"].shape == (0, 7)


def test_every_tensor_is_aligned(tmp_path: Path) -> None:
    """Would catch: floats at odd addresses, for those who map the file into memory."""
    write(tmp_path / "x", [torch.tensor(True), torch.ones(3), np.float64(1), torch.ones(1, dtype=torch.bfloat16)])
    content = (tmp_path / "x").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    assert begin % 8 == 0
    assert np.frombuffer(content[begin : begin + 8], np.float64) == 1


@SAME_FOLDER
@given(
    content=st.binary(max_size=2000) | st.binary(max_size=50).map(lambda text: (len(text)).to_bytes(8, "little") + text)
)
def test_any_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    """Would catch: another exception than ours, from whatever stage of reading."""
    path = tmp_path / "random"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="can't be read: "):
        read(path)
    with pytest.raises(CheckpointError):
        verify(path)


@SAME_FOLDER
@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path: Path, data: st.DataObject) -> None:
    """Would catch: a part of the file that the checksum doesn't cover: padding, header length, the checksum itself."""
    path = tmp_path / "x"
    if not path.exists():
        write(path, {"a": torch.ones(7), "b": [1, "text"], "c": np.float32(2)})
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError):
        read(damaged)


def test_what_was_read_is_ones_own(tmp_path: Path) -> None:
    """Would catch: arrays that can't be written to, or that write into the file."""
    write(tmp_path / "x", [np.zeros(3), torch.zeros(3)])
    for value in read(tmp_path / "x"):
        value[0] = 1
    assert same(read(tmp_path / "x"), [np.zeros(3), torch.zeros(3)])


def test_a_tree_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    """Would catch: a checkpoint that is saved for hours and can't be loaded afterwards."""
    too_many = [torch.zeros(1)] * (MAX_TENSORS + 1)
    too_long = "x" * (4 << 20)
    too_fine = {str(number): "" for number in range(140_000)}
    too_many_dimensions = torch.zeros([1] * 65)
    for tree in (too_many, too_long, too_fine, too_many_dimensions):
        with pytest.raises(CheckpointError, match="give it fewer and larger arrays"):
            write(tmp_path / "x", tree)
    assert not list(tmp_path.iterdir())
    write(tmp_path / "x", too_many[1:])
    verify(tmp_path / "x")


def test_zips_and_pickles_are_named(tmp_path: Path) -> None:
    """Would catch: a user with an old model who is told that his file is damaged."""
    PPO("MlpPolicy", gym.make("CartPole-v1"), device="cpu").save(tmp_path / "sb3")
    torch.save({"a": torch.ones(2)}, tmp_path / "torch.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps([1, 2]))
    with zipfile.ZipFile(tmp_path / "any.zip", "w") as archive:
        archive.writestr("readme", "text")
    for name, said in {
        "sb3.zip": r"Stable-Baselines3's zip, which unpickles code: save a model of ours again",
        "torch.pt": "zip archive",
        "legacy.pt": "a pickle, and reading it runs code",
        "model.pkl": "a pickle",
        "any.zip": "zip archive",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            read(tmp_path / name)


def test_files_of_others_and_of_other_versions_are_named(tmp_path: Path) -> None:
    """Would catch: another program's tensors taken for a checkpoint, a newer format called damaged."""
    tensors = {"/a": torch.ones(2)}
    safetensors.torch.save_file(tensors, tmp_path / "other")
    document = {"format": "expire-span checkpoint", "version": "2", "document": "{}"}
    safetensors.torch.save_file(tensors, tmp_path / "newer", document)
    safetensors.torch.save_file(tensors, tmp_path / "resaved", document | {"version": "1"})
    for name, said in {
        "other": "a safetensors file of something else",
        "newer": "version '2', and this expire-span reads 1: take the expire-span that wrote it",
        "resaved": "aren't laid out as this format has them",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            read(tmp_path / name)


@pytest.mark.timeout(10)
def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    """Would catch: waiting for ever on a pipe, reading a device that never ends, writing over one."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, said in {
        tmp_path / "pipe": "it is a pipe: give the name of a file",
        tmp_path / "folder": "it is a folder",
        tmp_path / "loop": "symbolic links: look at the",
        Path("/dev/zero"): "it is a device",
        Path("/dev/null"): "it is a device",
        tmp_path / "absent" / "x": "No such file or directory: look at the path",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            read(path)
        if path.exists():
            with pytest.raises(CheckpointError, match=said):
                write(path, {})
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_links_are_followed(tmp_path: Path) -> None:
    """Would catch: a link to another disk that is replaced by a file here."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "x")
    for number in range(2):
        write(tmp_path / "link", number)
        assert (tmp_path / "link").is_symlink()
        assert read(tmp_path / "disk" / "x") == read(tmp_path / "link") == number


def test_errors_are_one_line_and_name_the_file(tmp_path: Path) -> None:
    """Would catch: an error that prints half a file, or says nothing of what to do."""
    path = tmp_path / "two\nlines"
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(CheckpointError) as error:
        read(path)
    message = str(error.value)
    assert message.endswith("two lines can't be read: it is cut off, or no safetensors file: take another checkpoint")
    assert "\n" not in message
