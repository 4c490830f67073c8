"""What the pages say is what there is: options, logged numbers, names of the library, links."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger

from agents import ExpireSpanPPO
from agents.evaluation import EvalCallback
from envs.batched import BatchedVecEnv, make_batched
from experiments.callbacks import EntropySchedule
from tests.docs import command_line
from tests.docs.pages import DOCS

REFERENCE = DOCS / "reference"
PUBLIC = ("agents", "agents.cores", "agents.checkpoint", "expire_span", "envs", "envs.batched")
"""Packages whose `__all__` is what a user may import."""


def test_options_are_those_of_the_program() -> None:
    """Would catch: a command that isn't in the page; an option, a default or a help text that changed and didn't there.
    To make the tables anew: `python -m tests.docs.command_line`."""
    page = command_line.PAGE.read_text()
    assert command_line.filled(page) == page
    for command in command_line.commands():
        assert f"<!-- {command} --help -->" in page


class Keys(KVWriter):
    """Keeps what numbers are logged."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.seen |= key_values.keys()

    def close(self) -> None:
        """Nothing to do."""


@pytest.mark.filterwarnings("ignore:batch_size|slots|n_steps|.*render_mode")
def test_logged_numbers_are_all_explained() -> None:
    """Would catch: a number that is logged and explained nowhere, and one that is explained and no longer logged."""
    keys = Keys()

    def corridors() -> BatchedVecEnv:
        return BatchedVecEnv(make_batched("ExpireSpan/Corridor-v0", 4, max_length=3, max_steps=12))

    core = {"dim": 16, "heads": 2, "slots": 8, "ramp_length": 2}
    of_both: dict[str, Any] = {"n_steps": 16, "policy_kwargs": core, "device": "cpu", "compile": False}
    for env, clip_range_vf in ((corridors(), 0.2), (make_vec_env("Pendulum-v1", 2), None)):
        model = ExpireSpanPPO("MlpPolicy", env, clip_range_vf=clip_range_vf, **of_both)
        model.set_logger(Logger(None, [keys]))
        callbacks: list[BaseCallback] = [EntropySchedule(0.1, 0.0)]
        if isinstance(env, BatchedVecEnv):
            callbacks.append(EvalCallback(corridors(), eval_freq=16, n_eval_episodes=4, verbose=0))
        model.learn(4 * 16 * env.num_envs, callback=callbacks)
    explained = set(re.findall(r"`((?:rollout|time|train|memory|eval)/\w+)`", (DOCS / "logs.md").read_text()))
    logged = {key for key in keys.seen if not re.fullmatch(r"memory/live_memories_layer_[1-9]", key)}
    assert logged == explained


def documented() -> set[str]:
    """The names that the reference explains."""
    return {name for page in REFERENCE.glob("*.md") for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)}


def test_the_reference_is_complete() -> None:
    """Would catch: a public name that was added and is in no page, or a page that names what is no longer there."""
    public = {f"{package}.{name}" for package in PUBLIC for name in importlib.import_module(package).__all__}
    short_names = {f"agents.{name}" for name in ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")}
    assert public - documented() == short_names
    for name in documented():
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_it_is_built_without_a_warning_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    """Would catch: a link to a page or heading that isn't there, a page in no menu, a docstring that can't be read,
    a font or script that a reader's browser would fetch from somewhere else."""
    pytest.importorskip("mkdocs", reason="the extra `docs` isn't installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=DOCS.parent, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        fetched = re.findall(
            r'<(?:script|img|iframe|link)\b[^>]*(?:src|href)="((?:https?:)?//[^"]+)"', page.read_text()
        )
        assert not fetched, page
