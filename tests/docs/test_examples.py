"""Every example of every page runs, as it stands in the page."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from experiments.cli import main
from tests.docs.pages import DOCS, Example, examples

TESTED_ELSEWHERE = {"adding-a-core.md": "tests/agents/cores", "action-masks.md": "tests/agents/test_action_masks.py"}
TAKES_LONG = {"benchmarks.md", "memory-suites.md", "tuning.md"}
"""Pages whose commands train or measure for minutes, or need more packages."""
IN_A_PROCESS = {"deploying.md"}
"""Pages whose examples trace programs, which the tests' checks of shapes can't be a part of."""

MODULE = "example"
"""The module that examples are said to be."""

PAGES = [
    page
    for page in sorted(DOCS.glob("*.md"))
    if page.name not in TAKES_LONG | TESTED_ELSEWHERE.keys() and examples(page)
]
pytestmark = pytest.mark.filterwarnings("ignore:batch_size|slots|n_steps|.*render_mode")


@pytest.fixture(autouse=True)
def _only_for_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to write to, and no environments of an example's left registered."""
    monkeypatch.chdir(tmp_path)
    yield
    of_examples = {name for name, spec in gym.registry.items() if getattr(spec.entry_point, "__module__", "") == MODULE}
    for name in of_examples:
        del gym.registry[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page: Path) -> None:
    """Would catch: an example that a reader copies and that doesn't run, since an argument, a default or a command
    has another name by now. Those of a page follow on from one another."""
    run = [example for example in examples(page) if example.not_run is None]
    assert run, "a page of which no example runs"
    if page.name in IN_A_PROCESS:
        assert {example.language for example in run} == {"python"}
        _run_in_a_process("\n".join(example.text for example in run))
        return
    names: dict[str, object] = {"__name__": MODULE}
    for example in run:
        if example.language == "python":
            exec(compile(example.text, str(page), "exec"), names)
        else:
            assert example.language == "sh"
            for command in _commands(example):
                assert main(command) == 0, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_run_says_why(page: Path) -> None:
    """Would catch: an example that is skipped for no reason given, and breaks unseen."""
    for example in examples(page):
        assert example.not_run is None or len(example.not_run.split()) > 2, example.text


def _commands(example: Example) -> Iterator[list[str]]:
    """The arguments of each `expire-span` in a block of commands."""
    for line in example.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "expire-span", line
            yield words[1:]


def _run_in_a_process(source: str) -> None:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
