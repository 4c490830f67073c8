"""Classes by registered names."""

import sys

import pytest
import torch
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn

from agents import MiniGridExtractor
from agents.checkpoint import CheckpointError, class_from_tree, class_to_tree, classes, register


class Mine(nn.Module):
    """A user's module."""


MINE = f"{__name__}.Mine"


@pytest.fixture(autouse=True)
def _registrations_of_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "_registered", dict(classes._registered))


@pytest.mark.parametrize("cls", [nn.Tanh, nn.LeakyReLU, torch.optim.AdamW, NatureCNN, MiniGridExtractor])
def test_the_usual_ones_are_known(cls: type) -> None:
    """Would catch: a default of SB3's or ours that a user has to pass by hand."""
    assert class_to_tree(cls) == {"class": cls.__name__}
    assert class_from_tree(class_to_tree(cls)) is cls


def test_others_are_asked_for() -> None:
    """Would catch: a module imported since a file named it; an error that doesn't say what to pass."""
    tree = class_to_tree(Mine)
    assert tree == {"unregistered": MINE}
    with pytest.raises(CheckpointError, match=f"pass classes={{'{MINE}': the class}}, or register it"):
        class_from_tree(tree)
    assert class_from_tree(tree, {MINE: Mine}) is Mine


def test_registered_later_is_early_enough() -> None:
    """Would catch: a checkpoint of an unregistered class that can't be read after its registration."""
    old = class_to_tree(Mine)
    register("mine", Mine)
    assert class_to_tree(Mine) == {"class": "mine"}
    assert class_from_tree(class_to_tree(Mine)) is Mine
    assert class_from_tree(old) is Mine


def test_a_name_is_one_classs() -> None:
    """Would catch: a registration that makes old checkpoints mean another class; a notebook's cell that can't be run
    twice."""
    with pytest.raises(ValueError, match=r"'ReLU' is registered for torch\.nn\.\S+ReLU already"):
        register("ReLU", Mine)
    register("mine", Mine)
    again = type("Mine", (nn.Module,), {"__module__": __name__, "__qualname__": "Mine"})
    register("mine", again)
    assert class_from_tree({"class": "mine"}) is again


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Tanh", "__main__.Tanh", "", "antigravity.fly"])
def test_no_path_is_imported(name: str) -> None:
    """Would catch: a qualified name from a file that is looked up, and so imported."""
    before = set(sys.modules)
    for kind in ("class", "unregistered"):
        with pytest.raises(CheckpointError, match="isn't known here"):
            class_from_tree({kind: name})
    assert set(sys.modules) == before


@pytest.mark.parametrize("tree", [None, "Tanh", {}, {"class": None}, {"class": ["Tanh"]}, {"class": "Tanh", "x": 1}])
def test_damaged_descriptions_are_refused(tree: object) -> None:
    """Would catch: a TypeError for what can't be looked up."""
    with pytest.raises(CheckpointError, match="take another checkpoint"):
        class_from_tree(tree)
