"""POPGym, Memory Gym and classic control without velocities from the command line, and the table of the suites."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from envs import CART_POLE_NO_VELOCITY, PENDULUM_NO_VELOCITY
from envs.suites import SUITES, Suite
from experiments.suites import brief, described, trained
from tests.experiments.conftest import TINY, Cli

PAGE = Path(__file__).parents[2] / "docs" / "memory-suites.md"
needs_popgym = pytest.mark.skipif(importlib.util.find_spec("popgym") is None, reason="POPGym isn't installed")
needs_memory_gym = pytest.mark.skipif(importlib.util.find_spec("memory_gym") is None, reason="Memory Gym isn't there")
MARKS = {"POPGym": needs_popgym, "Memory Gym": needs_memory_gym}


@pytest.mark.parametrize(
    ("env_id", "vec_env"),
    [
        (CART_POLE_NO_VELOCITY, "serial"),
        (CART_POLE_NO_VELOCITY, "subprocess"),
        (PENDULUM_NO_VELOCITY, "serial"),
        (PENDULUM_NO_VELOCITY, "subprocess"),
        pytest.param("popgym-RepeatPreviousEasy-v0", "serial", marks=needs_popgym),
        pytest.param("popgym-MultiarmedBanditEasy-v0", "subprocess", marks=needs_popgym),
        pytest.param("MortarMayhemB-Grid-v0", "serial", marks=needs_memory_gym),
        pytest.param("MysteryPath-v0", "subprocess", marks=needs_memory_gym),
    ],
)
def test_ids_train_and_evaluate(env_id: str, vec_env: str, tmp_path: Path, cli: Cli) -> None:
    """Would catch: an id that needs an import first, spaces or pictures that one command reads and another doesn't."""
    run = tmp_path / "run"
    # One that ends by itself may need hundreds of steps.
    flags = ("--env-args", "max_episode_steps=20", "--vec-env", vec_env, "--total-timesteps", 64, "--run-dir", run)
    outcome = cli("train", "--env", env_id, *TINY, *flags)
    assert outcome.status == 0, outcome.err
    outcome = cli("evaluate", run, "--episodes", 2, "--n-envs", 2, "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["mean_length"] <= 20


@pytest.mark.parametrize("vec_env", ["batched", "envpool"])
def test_other_ways_of_stepping_are_refused(vec_env: str, tmp_path: Path, cli: Cli) -> None:
    """Would catch: a batched version of a task that lacks the wrapper, or a traceback."""
    run = tmp_path / "run"
    outcome = cli("train", "--env", CART_POLE_NO_VELOCITY, *TINY, "--vec-env", vec_env, "--run-dir", run)
    assert outcome.status == 2
    assert len(outcome.err.splitlines()) == 1
    assert not run.exists()


@pytest.mark.parametrize(
    ("env_id", "suite"), [("popgym-RepeatPreviousEasy-v0", SUITES[0]), ("MortarMayhem-v0", SUITES[1])]
)
def test_a_missing_package_is_one_line(
    env_id: str, suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    """Would catch: a traceback, or a name that nobody knows how to install."""
    monkeypatch.setitem(sys.modules, suite.module, None)
    outcome = cli("train", "--env", env_id, *TINY, "--run-dir", tmp_path / "run")
    assert outcome.status == 2
    assert outcome.err == f"expire-span: error: environment: {suite.title} isn't installed: {suite.install}\n"


@pytest.mark.parametrize("suite", [pytest.param(suite, marks=MARKS[suite.title]) for suite in SUITES])
def test_the_page_lists_every_environment(suite: Suite) -> None:
    """Would catch: a table that was made before the last change, of ours or theirs, to spaces or ids."""
    section = PAGE.read_text().partition(f"\n### {suite.title}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`.*) \| (?:yes|no)\b.* \|$", section, flags=re.MULTILINE)
    assert rows == [described(env_id) for env_id in suite.ids()]


@needs_popgym
def test_the_table_says_what_doesnt_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: a table that says yes to everything."""
    assert trained("popgym-RepeatFirstEasy-v0") == "yes"
    monkeypatch.setitem(sys.modules, "popgym", None)
    assert trained("popgym-RepeatFirstEasy-v0").startswith(
        "no: expire-span: error: environment: POPGym isn't installed"
    )


@pytest.mark.parametrize(
    ("word", "status", "said"), [("--help", 0, "usage: "), ("--no-such-flag", 2, "Unrecognized options")]
)
def test_help_trains_nothing(word: str, status: int, said: str) -> None:
    """Would catch: words that are ignored, so that who asks what this is waits for a hundred trainings."""
    program = [sys.executable, "-m", "experiments.suites", word]
    outcome = subprocess.run(program, cwd=PAGE.parents[1], capture_output=True, text=True, timeout=250)
    assert outcome.returncode == status
    assert said in outcome.stdout + outcome.stderr
    assert not outcome.stdout.startswith("###")


def test_spaces_in_a_few_words() -> None:
    """Would catch: a hundred equal numbers in a cell of the table."""
    space = spaces.Dict(
        {
            "board": spaces.MultiDiscrete([3] * 52),
            "move": spaces.MultiDiscrete([8, 8]),
            "picture": spaces.Box(0, 255, (84, 84, 3), np.uint8),
            "speed": spaces.Box(-1, 1, (2,)),
        }
    )
    words = "{board: MultiDiscrete(52 of 3), move: MultiDiscrete(8, 8), picture: Box(84, 84, 3) uint8, speed: Box(2)}"
    assert brief(space) == words
