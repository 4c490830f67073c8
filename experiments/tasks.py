"""`expire-span tasks`."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

import envs
from experiments import presets, pretrained
from experiments.config import TasksConfig


def listing() -> dict[str, list[dict[str, Any]]]:
    """The tasks, the presets and the trained agents, as `tasks --json` prints them."""
    tasks = [
        {
            "env": task.env_id,
            "env_args": [f"{name}={value}" for name, value in task.kwargs.items()],
            "title": task.title,
            "demands": task.demands,
            "levels": task.n_levels,
        }
        for task in envs.TASKS.values()
    ]
    loaded = {name: presets.load(name) for name in presets.names()}
    settings = [
        {
            "preset": name,
            "env": preset.config.env.env_id,
            "env_args": list(preset.config.env.env_args),
            "title": preset.title,
            "demands": preset.demands,
            "total_timesteps": preset.config.total_timesteps,
        }
        for name, preset in loaded.items()
    ]
    return {"tasks": tasks, "presets": settings, "pretrained": _trained()}


def _trained() -> list[dict[str, Any]]:
    found = []
    for name in pretrained.names():
        config = json.loads((pretrained.folder(name) / pretrained.CONFIG).read_text())["config"]
        env = config["env"]
        found.append(
            {
                "pretrained": name,
                "env": env["env_id"],
                "env_args": env["env_args"],
                "total_timesteps": config["total_timesteps"],
            }
        )
    return found


def tasks(config: TasksConfig) -> int:
    """Runs `expire-span tasks`; prints the tables on standard output and returns 0."""
    lists = listing()
    if config.json:
        print(json.dumps(lists))
        return 0
    console = Console(highlight=False)
    table = Table("task, for --env", "what it demands of a memory", title="Tasks", show_lines=True)
    for task in lists["tasks"]:
        arguments = f"\n--env-args {' '.join(task['env_args'])}" if task["env_args"] else ""
        levels = f" ({task['levels']} levels)" if task["levels"] else ""
        table.add_row(f"{task['env']}{arguments}", f"{task['demands']}{levels}")
    console.print(table)
    table = Table("--preset", "what it trains", "what that demands of a memory", title="Presets", show_lines=True)
    for preset in lists["presets"]:
        steps = f"{preset['total_timesteps']:,} steps"
        table.add_row(preset["preset"], f"{preset['title']}; {steps}", preset["demands"])
    console.print(table)
    table = Table("--pretrained", "what it was trained on", title="Trained agents, for evaluate and record")
    for agent in lists["pretrained"]:
        trained_on = " ".join((agent["env"], *agent["env_args"]))
        table.add_row(agent["pretrained"], f"{trained_on}; up to {agent['total_timesteps']:,} steps")
    console.print(table)
    console.print("All other settings: [bold]expire-span train --preset NAME --help[/bold]")
    return 0
