"""Trained agents that come with the package."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from agents import ExpireSpanPPO
from experiments import pretrained, runs
from experiments.environments import training_envs
from experiments.errors import UserError
from experiments.pretrained import __main__ as packing
from experiments.pretrained.__main__ import MOST_BYTES, pack
from tests.experiments.conftest import Cli


@pytest.fixture
def shipped(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny agent as if it came with the package, called memory-s7."""
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    pack(run_dir, "memory-s7", tmp_path / "shelf", "expire-span train")
    monkeypatch.setattr(pretrained, "_HERE", tmp_path / "shelf")
    return tmp_path / "shelf" / "memory-s7"


def test_it_plays_as_its_run(trained: Path, shipped: Path, cli: Cli) -> None:
    """Catches weights that are lost or rounded on the way into the package."""
    flags = ("--episodes", 8, "--device", "cpu", "--json")
    ours = json.loads(cli("evaluate", "--pretrained", "memory-s7", *flags).out)
    its_run = json.loads(cli("evaluate", trained, *flags).out)
    assert ours.pop("run") == "memory-s7"
    its_run.pop("run")
    assert ours == its_run


def test_only_what_acting_needs_is_in_it(trained: Path, shipped: Path) -> None:
    """Catches the optimiser's state or logs in the package, and paths of the machine that trained."""
    assert {path.name for path in shipped.iterdir()} == {runs.CONFIG, runs.MODEL}
    size = (shipped / runs.MODEL).stat().st_size
    assert size < 0.6 * (trained / runs.MODEL).stat().st_size
    assert str(trained.parent) not in (shipped / runs.CONFIG).read_text()


def test_it_can_be_trained_on(shipped: Path) -> None:
    """Catches an optimiser without a state that can't step."""
    model = runs.load(shipped, "cpu").model
    before = {name: weight.clone() for name, weight in model.policy.state_dict().items()}
    with_env = ExpireSpanPPO.load(shipped / runs.MODEL, env=_env(shipped), device="cpu")
    with_env.learn(64)
    after = with_env.policy.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def _env(shipped: Path) -> VecEnv:
    return training_envs(runs.read_config(shipped).env, 0)


def test_record_writes_beside_the_user(
    shipped: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a video in the package's own folder, where nobody may write or look."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert cli("record", "--pretrained", "memory-s7", "--episodes", 1, "--device", "cpu").status == 0
    assert (tmp_path / "here" / "memory-s7.mp4").is_file()


def test_tasks_lists_it(shipped: Path, cli: Cli) -> None:
    """Catches trained agents that nobody can find."""
    (agent,) = json.loads(cli("tasks", "--json").out)["pretrained"]
    assert agent["pretrained"] == "memory-s7"
    assert agent["env"] == "MiniGrid-MemoryS7-v0"
    assert "memory-s7" in cli("tasks").out


@pytest.mark.parametrize("command", ["evaluate", "record"])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "neither is given"),
        (["runs/x", "--pretrained", "memory-s7"], "both are given"),
        (["--pretrained", "memory-s8"], "did you mean memory-s7"),
        (["--pretrained", "../shelf/memory-s7"], "no such agent"),
    ],
)
def test_which_agent_is_meant(shipped: Path, cli: Cli, command: str, arguments: list[str], told: str) -> None:
    """Catches a traceback, and a path where a name is meant."""
    outcome = cli(command, *arguments)
    assert outcome.status == 2
    assert told in outcome.err


@pytest.mark.parametrize("name", ["", "../memory-s8", "a/b", "Memory", "-x"])
def test_names_that_are_none(trained: Path, shipped: Path, name: str) -> None:
    """Catches an agent that is written outside of the shelf, or into it without a folder."""
    with pytest.raises(UserError, match="can't be an agent's name"):
        pack(trained, name, shipped.parent, "expire-span train")
    assert [path.name for path in shipped.parent.iterdir()] == ["memory-s7"]


def test_one_that_is_too_large_replaces_none(trained: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an agent that is lost for one that doesn't fit."""
    before = (shipped / runs.MODEL).read_bytes()
    monkeypatch.setattr(packing, "MOST_BYTES", 100)
    with pytest.raises(UserError, match="more than 100"):
        pack(trained, "memory-s7", shipped.parent, "expire-span train")
    assert (shipped / runs.MODEL).read_bytes() == before


def test_those_of_the_package_are_small_and_can_be_loaded() -> None:
    """Catches an agent that an older version wrote, and one that swells the package."""
    assert pretrained.names()
    for name in pretrained.names():
        assert (pretrained.folder(name) / runs.MODEL).stat().st_size <= MOST_BYTES, name
        assert runs.load(pretrained.folder(name), "cpu").model.num_timesteps > 0, name
