"""The comparison on tasks without velocities: that it runs, and by name (`-m slow`) what comes of it."""

import dataclasses
import re
from typing import Any

import pytest

from experiments import classic
from experiments.classic import PROBLEMS, Agent, ClassicConfig, Problem, Result, Task
from experiments.errors import UserError


def short(task: Task) -> Problem:
    """One small rollout, one pass over it."""
    problem = PROBLEMS[task]
    sizes = {"n_steps": 16, "batch_size": 32, "n_epochs": 1}
    ours = {name: value for name, value in problem.ours.items() if name not in sizes}
    return dataclasses.replace(problem, total_timesteps=1, shared={**problem.shared, **sizes}, ours=ours)


@pytest.mark.parametrize("task", PROBLEMS)
@pytest.mark.parametrize("agent", ["expire-span", "no-memory", "recurrent-ppo"])
def test_each_agent_trains_on_each_task(agent: Agent, task: Task) -> None:
    """Would catch: arguments that an agent doesn't take, found minutes into a comparison; an evaluation whose returns
    are normalised ones, which lie far outside of what the tasks pay."""
    if agent == "recurrent-ppo":
        pytest.importorskip("sb3_contrib")
    found = classic.result(agent, short(task), seed=1, episodes=2)
    low, high = (8, 500) if task == "cartpole" else (-2000, -300)
    assert low <= found.mean_return <= high
    assert (found.agent, found.seed) == (agent, 1)


def test_the_table_has_a_row_for_each_agent() -> None:
    """Would catch: a return in another agent's row, or a mean over all of them."""
    results = [Result("expire-span", 0, 500.0, 30.0), Result("expire-span", 2, 400.0, 40.0)]
    results += [Result("no-memory", 0, 40.0, 20.0), Result("no-memory", 2, 50.0, 20.0)]
    assert classic.table(results).splitlines()[2:] == [
        "| expire-span | 500.0 | 400.0 | 450.0 | 35 |",
        "| no-memory | 40.0 | 50.0 | 45.0 | 20 |",
    ]


def test_without_sb3_contrib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: a missing package that is found out only after our own trainings."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="sb3-contrib isn't installed"):
        classic.classic(ClassicConfig("cartpole"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_balances_a_pole_whose_speed_it_must_remember() -> None:
    """Would catch: an agent that no longer learns to use its memory. A policy without one gets about 45 of 500; we ask
    for 450."""
    problem = PROBLEMS["cartpole"]
    assert classic.result("expire-span", problem, seed=0, episodes=100).mean_return > 450
    assert classic.result("no-memory", problem, seed=0, episodes=100).mean_return < 100


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"seeds": (-1,)}, "--seeds -1: must be between 0 and 999"),
        ({"seeds": (1000,)}, "--seeds 1000: must be between 0 and 999"),
        ({"seeds": (0, 0)}, "--seeds 0 0: give one or more, each once"),
        ({"agents": ()}, "--agents : give one or more, each once"),
        ({"episodes": 0}, "--episodes 0: must be at least 1"),
        ({"timesteps": 0}, "--timesteps 0: must be at least 1"),
    ],
)
def test_settings_out_of_range(setting: dict[str, Any], said: str) -> None:
    """Catches: a traceback, an empty table, or one of NaN after all trainings; a seed that is the evaluation's."""
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        classic.classic(ClassicConfig("cartpole", **setting))
