"""The list of tasks and presets."""

import json

import envs
from experiments import presets
from tests.experiments.conftest import Cli


def test_tasks(cli: Cli) -> None:
    """A task or a preset that can be used and that nobody finds."""
    outcome = cli("tasks")
    assert outcome.status == 0
    for name in [*envs.TASKS, *presets.names()]:
        assert name in outcome.out


def test_json(cli: Cli) -> None:
    """Output that a program can't read."""
    lists = json.loads(cli("tasks", "--json").out)
    assert {task["env"] for task in lists["tasks"]} == set(envs.TASKS)
    assert [preset["preset"] for preset in lists["presets"]] == presets.names()
    assert all(item["demands"] for item in [*lists["tasks"], *lists["presets"]])
