"""Which file is read where the one named isn't there."""

from pathlib import Path

import pytest

from agents import checkpoint
from agents.checkpoint import CheckpointError
from agents.saving.place import load_tree


def written(folder: Path, *names: str) -> None:
    """Files that say what they are called."""
    for name in names:
        checkpoint.write(folder / name, {"name": name})


@pytest.mark.parametrize("there", ["m_0.5", "m_0.5.zip", "m_0.5.safetensors"])
@pytest.mark.parametrize("named", ["m_0.5", "m_0.5.zip", "m_0.5.safetensors"])
def test_another_suffix_is_taken(tmp_path: Path, there: str, named: str) -> None:
    """Would catch: `rl_model_256_steps`, which SB3's callback wrote with .zip, or `best_model.zip`, which was written
    as .safetensors, that are said not to be there; a suffix of a number taken for a file's."""
    (tmp_path / "other").mkdir()
    written(tmp_path / "other", "m_0.zip")
    written(tmp_path, there)
    (tmp_path / "m_0.zip").write_bytes(b"another")
    assert load_tree(tmp_path / named) == {"name": there}
    assert load_tree(str(tmp_path / named)) == {"name": there}


def test_the_file_named_comes_first(tmp_path: Path) -> None:
    """Would catch: another file than the one that is named, or that `save` made of the name."""
    written(tmp_path, "m.zip", "m.safetensors")
    assert load_tree(tmp_path / "m") == {"name": "m.safetensors"}
    written(tmp_path, "m")
    for name in ("m", "m.zip", "m.safetensors"):
        assert load_tree(tmp_path / name) == {"name": name}


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    """Would catch: a folder of the name that hides the file, or one that is said not to be there."""
    (tmp_path / "m").mkdir()
    with pytest.raises(CheckpointError, match="it is a folder"):
        load_tree(tmp_path / "m")
    written(tmp_path, "m.zip")
    assert load_tree(tmp_path / "m") == {"name": "m.zip"}


def test_what_was_looked_for_is_said(tmp_path: Path) -> None:
    """Would catch: an error that leaves open what was looked for, or one file of two taken by chance."""
    for name, others in (
        ("m", "m.safetensors or m.zip"),
        ("m.zip", "m.safetensors or m"),
        ("m.safetensors", "m.zip or m"),
    ):
        with pytest.raises(CheckpointError) as caught:
            load_tree(tmp_path / name)
        path = tmp_path / name
        assert str(caught.value) == (f"{path} can't be read: No such file or directory, nor {others}: look at the path")
    written(tmp_path, "m", "m.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_tree(tmp_path / "m.zip")
    assert str(caught.value).endswith(f"{tmp_path / 'm.safetensors'} and {tmp_path / 'm'} are: name one of them")
