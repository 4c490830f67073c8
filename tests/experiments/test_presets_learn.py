"""The presets learn what they say: minutes each, run by name (`pytest -m slow -k demo`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.conftest import Cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def trained_and_evaluated(cli: Cli, folder: Path, *arguments: str) -> dict[str, Any]:
    """What `evaluate --json` says of a training with these arguments."""
    outcome = cli("train", *arguments, "--run-dir", folder, "--progress", "none")
    assert outcome.status == 0, outcome.err
    outcome = cli("evaluate", folder, "--episodes", 400, "--json")
    result = json.loads(outcome.out)
    assert isinstance(result, dict)
    return result


def test_demo(cli: Cli, tmp_path: Path) -> None:
    """Would catch: a demo that ends before it has learned, or that no longer learns. Chance is 0.5."""
    assert trained_and_evaluated(cli, tmp_path / "run", "--preset", "demo")["success_rate"] >= 0.95


def test_corridor(cli: Cli, tmp_path: Path) -> None:
    """Would catch: a memory that doesn't outlast its slots. A window of them leaves half of the long ones to chance."""
    result = trained_and_evaluated(cli, tmp_path / "run", "--preset", "corridor")
    assert result["success_rate"] >= 0.97
    assert result["success_by_length"]["51-100"]["success_rate"] >= 0.95


@pytest.mark.parametrize(("memory", "on_long"), [("transformer-xl", 0.9), ("none", 0.65)])
def test_controls_on_the_corridor(cli: Cli, tmp_path: Path, memory: str, on_long: float) -> None:
    """Would catch: a corridor that needs no expiring memory, on which the test above would prove nothing."""
    result = trained_and_evaluated(cli, tmp_path / "run", "--preset", "corridor", "--memory", memory)
    assert result["success_by_length"]["51-100"]["success_rate"] <= on_long


def test_memory_s13(cli: Cli, tmp_path: Path) -> None:
    """Would catch: an agent that stays with the half-right answer; every level is played."""
    result = trained_and_evaluated(cli, tmp_path / "run", "--preset", "memory-s13")
    assert result["levels"] == 40
    assert result["levels_solved"] >= 38
