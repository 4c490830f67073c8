"""Whatever is set, a training begins, or one line says what is wrong."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from experiments import preset_file
from experiments.errors import UserError
from experiments.session import new_session
from tests.experiments.conftest import Cli
from tests.experiments.settings_at_random import as_flags, settings

_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]


def drawn(examples: int) -> hypothesis_settings:
    """The same examples at every run."""
    return hypothesis_settings(max_examples=examples, derandomize=True, database=None, suppress_health_check=_SHARED)


def begun(folder: Path, chosen: dict[str, Any], **more: Any) -> bool:
    """Whether a training with these settings, read from a file, would begin; everything is made, nothing is trained.

    Args:
        folder: for the file.
        chosen: as a preset's file has them.
        more: settings that a file can't have.
    """
    file = folder / "settings.json"
    file.write_text(json.dumps({"format_version": preset_file.FORMAT_VERSION, "title": "", "config": chosen}))
    refused = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = dataclasses.replace(preset_file.read(file), **{"run_dir": str(folder / "run"), **more})
            config.check()
            new_session(config).vec_env.close()
    except UserError as error:
        refused = str(error)
    if refused is not None:
        assert "\n" not in refused, refused
        assert len(refused) > 10, refused
        return False
    assert not (folder / "run").exists(), "nothing is written before the training begins"
    return True


@drawn(200)
@given(chosen=settings())
def test_settings(tmp_path: Path, chosen: dict[str, Any]) -> None:
    """Would catch: a traceback of PyTorch, Gymnasium or ours for a setting that is wrong, or of a wrong type."""
    begun(tmp_path, chosen)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@drawn(10_000)
@given(chosen=settings())
def test_ten_thousand_settings(tmp_path: Path, chosen: dict[str, Any]) -> None:
    """The same, ten thousand times."""
    begun(tmp_path, chosen)


def test_most_of_them_begin(tmp_path: Path) -> None:
    """Would catch: settings of which nearly all are refused at the first look, so that nothing behind is reached."""
    outcomes: list[bool] = []

    @drawn(40)
    @given(chosen=settings(junk=False))
    def count(chosen: dict[str, Any]) -> None:
        outcomes.append(begun(tmp_path, chosen))

    count()
    assert sum(outcomes) > len(outcomes) / 4


NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=300)


@drawn(50)
@example("x" * 300)
@example("zero\0")
@given(name=NAMES)
def test_run_folders(tmp_path: Path, name: str) -> None:
    """Would catch: a traceback for a name that the system can't have, too long or with a zero in it."""
    began = begun(tmp_path, {"env": {"env_id": "CartPole-v1", "n_envs": 1}}, run_dir=str(tmp_path / name))
    assert began or name in (".", "..") or len(name.encode()) > 255 or "\0" in name or name == "settings.json"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_command_lines(cli: Cli, tmp_path: Path) -> None:
    """Would catch: the same where the words go through the program, and trainings that begin and then fail."""
    statuses: list[int] = []

    @drawn(100)
    @given(chosen=settings())
    def run(chosen: dict[str, Any]) -> None:
        fixed = ("--run-dir", tmp_path / "run", "--overwrite", "--progress", "none", "--total-timesteps", 32)
        outcome = cli("train", *as_flags(chosen), *fixed)
        statuses.append(outcome.status)
        assert outcome.status in (0, 2), outcome
        assert "Traceback" not in outcome.err

    run()
    assert statuses.count(0) > 10
