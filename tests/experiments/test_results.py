"""`expire-span results`: the matrix, its results, the report."""

import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from agents.checkpoint.lock import LOCK
from experiments import runs
from experiments.config import ResultsConfig, TrainConfig
from experiments.environments import make, training_envs
from experiments.errors import UserError
from experiments.model import build_model
from experiments.results import agents, page, pictures, tasks
from experiments.results.agents import config_of
from experiments.results.curve import COLUMNS, POINTS, Point, first_at, read_points, thinned
from experiments.results.matrix import cell, cells, differences, settings_of
from experiments.results.page import AT_A_GLANCE, TABLES
from experiments.results.record import read_record
from experiments.results.statistics import bootstrap_interval, interquartile_mean
from experiments.results.task import ResultsTask
from experiments.settings import setting, with_settings
from tests.experiments.conftest import Cli
from tests.experiments.test_errors import check

ROOT = Path(__file__).parents[2]
STEPS = 1024
TASK = {
    "format_version": 1,
    "title": "a short corridor",
    "config": {
        "env": {
            "env_id": "ExpireSpan/Corridor-v0",
            "env_args": ["min_length=3", "max_length=4", "max_steps=8"],
            "n_envs": 16,
            "vec_env": "batched",
        },
        "core": {"dim": 16, "depth": 1, "heads": 2, "slots": 6, "max_span": 20, "ramp_length": 3},
        "agent": {"n_steps": 8, "batch_size": 64, "n_epochs": 1, "compile": False},
        "total_timesteps": STEPS,
    },
    "evaluation": {"episodes": 5, "env_args": ["max_steps=12"]},
    "goal": 0.01,
    "own": {"lstm": {"batch_size": 32}},
}
OF_THE_MOMENT = ("seconds", "goal_seconds", "steps_per_second", "peak_memory_mib", "git")
"""What differs from run to run of the same training; whether the sources are changed, while somebody edits them."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a task's file in it."""
    (tmp_path / "short.json").write_text(json.dumps(TASK))
    return tmp_path


def words(folder: Path, *more: object, names: tuple[str, ...] = ("expire-span", "lstm"), seeds: int = 2) -> list[str]:
    """A tiny matrix, and where it lies."""
    where = ("--runs", folder / "runs", "--data", folder / "data", "--page", folder / "RESULTS.md", "--device", "cpu")
    matrix = ("--tasks", folder / "short.json", "--agents", *names, "--seeds", *range(seeds))
    return [str(word) for word in ("results", *matrix, *where, *more)]


def config(folder: Path) -> ResultsConfig:
    """The same matrix, of one agent and seed."""
    return ResultsConfig(
        (str(folder / "short.json"),), ("expire-span",), (0,), str(folder / "runs"), str(folder / "data"), device="cpu"
    )


def learned(path: Path) -> dict[str, Any]:
    """What a result says but for what is of the moment."""
    record = dataclasses.asdict(read_record(path))
    del record["curve"]["seconds"]
    return {name: value for name, value in record.items() if name not in OF_THE_MOMENT}


def longer(folder: Path, times: int) -> None:
    """Makes the task's training so many times as long."""
    task = TASK | {"config": {**TASK["config"], "total_timesteps": times * STEPS}}  # type: ignore[dict-item]
    (folder / "short.json").write_text(json.dumps(task))


# --- what is asked for ---


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({"episodes": 0}, "evaluation episodes 0: must be at least 1"),
        ({"turns": -1}, "evaluation turns -1: must be at least 0"),
        ({"turns": 9}, "evaluation turns are for the measure correct_turn_rate"),
        ({"env_args": ["foo=5"]}, "foo"),
    ],
)
def test_an_evaluation_that_cant_be_is_told_before_the_training(
    folder: Path, cli: Cli, evaluation: dict[str, Any], said: str
) -> None:
    """Catches: hours of training that end in an error for a typing mistake."""
    (folder / "short.json").write_text(json.dumps(TASK | {"evaluation": evaluation}))
    check(cli(*words(folder)), said)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_and_agent_can_be_made(name: str) -> None:
    """Catches: settings with which a lease of a GPU ends in an error at the first run, or that differ between agents in
    more than the core and what the task says; an evaluation whose arguments its environment doesn't have."""
    task = tasks.load(name)
    few = dataclasses.replace(task.config.env, n_envs=2, n_workers=1)
    if few.vec_env == "subprocess":
        few = dataclasses.replace(few, vec_env="serial")
    vec_env = training_envs(few, 0)
    judged = dataclasses.replace(few, env_args=(*task.config.env.env_args, *task.evaluation.env_args))
    make(judged).close()
    matrix = cells(ResultsConfig(tasks=(name,), agents=(*agents.DEFAULT, "transformer-xl-8", agents.PLAIN), seeds=(3,)))
    for one in matrix:
        own = task.own.get("transformer-xl" if "-xl" in one.agent else one.agent, {})
        shared = with_settings(one.config, {name: setting(task.config, name) for name in own})
        assert dataclasses.replace(shared, core=task.config.core, seed=0) == task.config
        assert {name: setting(one.config, name) for name in own} == own
        assert not {f"{part}.{name}" for name in own for part in ("core", "agent")} & agents.unused(one.agent)
        small = dataclasses.replace(one.config.agent, compile=False, batch_size=2 * one.config.agent.n_steps)
        build_model(dataclasses.replace(one.config, env=few, agent=small), vec_env, torch.device("cpu"))
    vec_env.close()
    assert [one.agent for one in matrix if not one.config.core.output_norm] == [agents.PLAIN]
    slots = {one.agent: one.config.core.slots_of_a_layer for one in matrix}
    same = task.config.core.slots
    assert slots == {
        "expire-span": same,
        "transformer-xl": same,
        "transformer-xl-8": 8,
        "lstm": None,
        "lstm-plain": None,
        "none": 0,
    }


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tasks", "memory-s10"), ("--tasks memory-s10: no such task: did you mean memory-s1",)),
        (("--tasks", "no/such.json"), ("--tasks no/such.json: there is no such file",)),
        (("--agents", "expire-spam"), ("--agents expire-spam: no such agent: did you mean expire-span",)),
        (("--agents", "transformer-xl-100"), ("did you mean transformer-xl",)),
        (("--agents", "lstm", "lstm"), ("--agents lstm: is given twice",)),
        (("--seeds", "1", "1"), ("--seeds 1: is given twice",)),
        (("--seeds", "-1"), ("--seeds -1: must be between 0 and 10",)),
        (("--seeds", "0", "999999999"), ("--seeds 999999999: must be between 0 and 10",)),
        (("--workers", "0"), ("--workers 0: must be between 1 and 1024",)),
        (("--workers", "99999999999999999999"), ("must be between 1 and 1024",)),
        (("--torch-threads", "99999999999999999999"), ("must be between 1 and 1024",)),
        (("--minutes", "1.5"), ("--minutes 1.5: leaves no time", "last 120 seconds", "a smaller --reserve")),
        (("--minutes", "nan"), ("--minutes nan: leaves no time",)),
        (("--report",), ("has no results of these tasks and agents yet",)),
        (("--report", "--list"), ("exclude each other",)),
        (("--device", "tpu"), ("--device 'tpu' isn't a device",)),
    ],
)
def test_what_cannot_be(cli: Cli, folder: Path, flags: tuple[str, ...], said: tuple[str, ...]) -> None:
    """Catches: a misspelt name that is silently no part of the matrix, or that is found wrong after hours of runs."""
    check(cli(*words(folder), *flags), *said)
    assert [path.name for path in folder.iterdir()] == ["short.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gaol": 0.5}, "has no 'gaol': did you mean goal"),
        ({"evaluation": {"episode": 5}}, "evaluation has no setting 'episode': did you mean episodes?"),
        ({"evaluation": {"episodes": "five"}}, "evaluation episodes 'five': must be a whole number"),
        ({"evaluation": 5}, "evaluation must be an object of settings"),
        ({"objective": "success"}, "objective 'success': must be one of success_rate, mean_return"),
        ({"config": {"core": {"slotz": 5}}}, "short.json: core has no setting 'slotz'"),
        ({"own": {"lstn": {}}}, "own has no agent 'lstn': did you mean lstm or lstm-plain?"),
        ({"own": {"lstm": {"batch": 5}}}, "own lstm has no setting 'batch': did you mean batch_size"),
        ({"own": {"lstm": {"batch_size": "few"}}}, "own lstm batch_size 'few': must be a whole number"),
        ({"own": ["lstm"]}, 'own must be an object of agents, such as {"lstm": {"batch_size": 256}}'),
        ({"own": {"lstm": {"batch_size": -5}}}, "--tasks short: --batch-size -5: must be at least 1"),
        ({"config": {"agent": {"learning_rate": 10**400}}}, "--learning-rate 1000"),
        ({"config": {"cores": {}}}, "config has no setting 'cores': did you mean core"),
        ({"own": {"lstm": {"memory": "gru"}}}, "own lstm has no setting 'memory'"),
        ({"own": {"recurrent-ppo": {"depth": 7}}}, "own has no agent 'recurrent-ppo'"),
    ],
)
def test_wrong_task_files(cli: Cli, folder: Path, change: dict[str, Any], said: str) -> None:
    """Catches: a setting of a task's file that is overlooked, so that its default is what is run; a hint that isn't
    JSON, though it is to be put into the file."""
    (folder / "short.json").write_text(json.dumps(TASK | change))
    check(cli(*words(folder)), "--tasks ", said)
    (folder / "lstm.json").write_text("{}")
    (folder / "corridor-200.json").write_text(json.dumps(TASK))
    check(cli("results", "--tasks", folder / "corridor-200.json"), "corridor-200 is a task of ours")


# --- runs ---


def test_a_matrix_from_the_first_run_to_the_report(cli: Cli, folder: Path) -> None:
    """Catches: a run that is done again, a report that needs the run folders, one that eats the page's prose or that
    isn't the same twice, results of other settings mixed in, an agent's own settings that it isn't trained with; a
    result of before, with a hash of their settings, that can't be read."""
    done = cli(*words(folder))
    assert (done.status, done.out) == (0, "4 done\n"), done.err
    results = sorted((folder / "data" / "short").rglob("*.json"))
    assert [path.relative_to(folder / "data").as_posix() for path in results] == [
        f"short/{agent}/seed{seed}.json" for agent in ("expire-span", "lstm") for seed in (0, 1)
    ]
    for path in results:
        record = read_record(path)
        assert path.stat().st_size < 8_000
        assert (record.steps, record.device_name != "") == (STEPS, True)
        assert record.curve["steps"] == list(range(128, STEPS + 1, 128))
        assert record.evaluation["episodes"] == 5
        assert record.settings["agent.batch_size"] == (32 if record.agent == "lstm" else 64)
        assert record.evaluation["env_args"]["max_steps"] == 12
        assert (record.slots, "live_memories" in record.curve) == (
            (6, True) if record.agent != "lstm" else (None, False)
        )
        assert ("span_of_cue" in record.curve) == ("span_of_others" in record.curve) == (record.agent != "lstm")
        assert (record.peak_memory_mib or 0.0) > 50
    assert read_record(results[0]).settings != read_record(results[2]).settings
    assert read_record(results[0]).settings == read_record(results[1]).settings
    content = json.loads(results[0].read_text())
    results[0].write_text(json.dumps(content | {"settings_hash": "0123456789abcdef"}))
    assert dataclasses.asdict(read_record(results[0])).keys() == content.keys() - {"format_version"}

    before = [path.stat().st_mtime_ns for path in results]
    again = cli(*words(folder))
    assert (again.status, again.out) == (0, "4 done\n")
    assert "begun" not in again.err
    assert [path.stat().st_mtime_ns for path in results] == before
    assert "done 0 1" in cli(*words(folder, "--list")).out

    (folder / "runs").rename(folder / "elsewhere")
    page = folder / "RESULTS.md"
    assert cli(*words(folder, "--report")).status == 0
    page.write_text(f"Before.\n{page.read_text()}After.\n")
    assert cli(*words(folder, "--report")).status == 0
    first, picture = page.read_text(), (folder / "docs" / "results" / "short.png").read_bytes()
    assert cli(*words(folder, "--report")).status == 0
    assert (page.read_text(), (folder / "docs" / "results" / "short.png").read_bytes()) == (first, picture)
    assert first.startswith("Before.\n")
    assert first.endswith(f"{TABLES.end}\nAfter.\n")
    score = r"([01]\.\d{3})"
    to_goal = r"[\d,]+ \| [\d.]+"
    row = re.search(
        rf"^\| expire-span \| 2 \| {score} \({score} to {score}\) \| {score} \| 2 of 2 \| {to_goal} \| {score} \|",
        first,
        re.M,
    )
    assert row is not None
    costs = re.search(rf"^\| expire-span \| {score} \|  \| [\d,]+ \| [\d,]+ \| ", first, re.M)
    assert costs is not None
    ends = [read_record(path).curve["success_rate"][-1] for path in results[:2]]
    assert float(costs[1]) == pytest.approx(np.array(ends, dtype=float).mean(), abs=6e-4)
    later = []
    for path in results[:2]:
        record = read_record(path)
        assert record.goal_steps is not None
        since = max(record.goal_steps, STEPS // 2)
        curve = zip(record.curve["steps"], record.curve["success_rate"], strict=True)
        later += [rate for step, rate in curve if step is not None and step >= since and rate is not None]
    assert row[5] == f"{min(later):.3f}"
    assert "Settings of their own: lstm with `batch_size` 32." in first
    assert re.search(r"^The expiring memory, where it differs from the defaults: .*`slots` 6", first, re.M)
    # Of two seeds the lowest is the interval's lower end.
    assert row[4] == row[2] <= row[1]
    overview = re.search(r"^\| .* \| success rate \| ([01]\.\d{3})", first, re.M)
    assert overview is not None
    assert overview[1] == row[1]
    assert re.search(r"^4 runs, \d\.\d\d hours of training", first, re.M)

    # Half of the results are of other settings now.
    longer(folder, 2)
    check(cli(*words(folder, "--report", "--page", folder / "short.json")), "needs two lines", AT_A_GLANCE.begin)
    outcome = cli(*words(folder, "--report", names=("expire-span",)))
    assert outcome.out.endswith("0 runs of 0 tasks, 2 left out as stale\n")
    assert "- short expire-span seed 1: total_timesteps 1024 -> 2048" in page.read_text()
    outcome = cli(*words(folder))
    assert (outcome.status, outcome.out) == (0, "4 stale\n")


def test_what_is_seen_at_a_glance(cli: Cli, folder: Path) -> None:
    """Catches: prose between the two parts that is eaten, a sweep without its picture, an agent in bold of which a seed
    is below the goal, or none though all are at it, a count that isn't of its seeds, an LSTM that stands beside
    itself."""
    names = ("expire-span", "transformer-xl-8", agents.PLAIN)
    assert cli(*words(folder, names=names)).status == 0
    assert cli(*words(folder, "--report", names=names)).status == 0
    page, picture = folder / "RESULTS.md", folder / "docs" / "at-a-glance.png"
    page.write_text(page.read_text().replace(AT_A_GLANCE.end, f"{AT_A_GLANCE.end}\nBetween.\n"))
    # The goal is 0.01.
    for rates, said, count in (
        ((0.5, 0.01), "**0.255**, lowest 0.010 (", "2 of 2"),
        ((0.5, 0.0), "0.250, lowest 0.000 (", "1 of 2"),
    ):
        for seed, rate in enumerate(rates):
            path = folder / "data" / "short" / "expire-span" / f"seed{seed}.json"
            record = json.loads(path.read_text())
            record["evaluation"]["success_rate"] = rate
            path.write_text(json.dumps(record))
        assert cli(*words(folder, "--report", names=names)).status == 0
        glance, tables = page.read_text().split("Between.")
        assert TABLES.begin in tables
        assert f"| a short corridor | success rate | {said}" in glance
        assert f"| **all of them** | seeds at the goal | {count} |" in glance
        assert "| task | judged by | expire-span |\n" in glance
        assert f"| {agents.PLAIN} |" in tables
        assert "(docs/at-a-glance.png)" in glance
        assert picture.stat().st_size > 10_000
    picture.unlink()
    for few, columns in (((names[0], names[2]), True), (names[2:], False)):
        assert cli(*words(folder, "--report", names=few)).status == 0
        assert "at-a-glance.png" not in page.read_text()
        assert ("**all of them**" in page.read_text()) is columns
        assert not picture.exists()


def test_agents_are_told_apart_in_pictures() -> None:
    """Catches: two agents of one look that no number tells apart, an agent that was added and has no look."""
    styles = [pictures.Style.of(agent) for agent in agents.NAMES]
    assert len({(style.color, style.marker, style.number) for style in styles}) == len(styles)
    single = [style for style in styles if style.number is None]
    assert len({style.color for style in single}) == len({style.label for style in single}) == len(single)


def test_numbers_of_points_are_set_apart() -> None:
    """Catches: numbers of a sweep that are printed one over the other where its points lie side by side."""
    axes = Figure().subplots()
    numbers = [
        axes.annotate(text, (x, y), xytext=(0, way), textcoords="offset points")
        for text, x, y, way in (("128", 0.5, 0.5, -8), ("256", 0.51, 0.5, -8), ("512", 0.5, 0.49, -8), ("8", 0.9, 0, 8))
    ]
    alone = numbers[-1].xyann
    pictures.set_apart(axes)
    boxes = [number.get_window_extent() for number in numbers]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert numbers[-1].xyann == alone


def test_pages_in_which_parts_would_be_lost(tmp_path: Path) -> None:
    """Catches: a pair of markers within the other, or across it, that is overwritten, or a bare traceback."""
    path = tmp_path / "page.md"
    outer, inner = AT_A_GLANCE, TABLES
    for lines in (
        (outer.begin, inner.begin, inner.end, outer.end),
        (inner.begin, outer.begin, outer.end, inner.end),
        (outer.begin, inner.begin, outer.end, inner.end),
        (outer.begin, outer.end, inner.begin),
        (outer.end, outer.begin, inner.begin, inner.end),
        (outer.begin, outer.begin, outer.end, inner.begin, inner.end),
    ):
        path.write_text("\n".join(lines))
        with pytest.raises(UserError, match="needs two lines once each"):
            page.read(path)
    # In whatever order, with whatever around them.
    path.write_text("\n".join(("one", inner.begin, inner.end, "two", outer.begin, outer.end, "three")))
    page.read(path).write({outer: "seen", inner: ""})
    assert (
        path.read_text().split()
        == " ".join(("one", inner.begin, inner.end, "two", outer.begin, "seen", outer.end, "three")).split()
    )


def test_a_page_of_another_machine(tmp_path: Path) -> None:
    """Catches: all line ends of a page that are changed, its letters by the machine's own encoding, a bare traceback
    for one that isn't UTF-8."""
    path = tmp_path / "page.md"
    lines = ("Größe", TABLES.begin, TABLES.end, AT_A_GLANCE.begin, AT_A_GLANCE.end, "")
    path.write_bytes("\r\n".join(lines).encode())
    page.read(path).write({TABLES: "one\ntwo"})
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n") > len(lines)
    assert path.read_bytes().decode().split("\r\n")[0] == "Größe"
    path.write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(UserError, match=r"page\.md must be UTF-8: "):
        page.read(path)


def test_a_sweep_has_its_slots_whatever_a_task_says() -> None:
    """Catches: `transformer-xl-8` with the slots that suit a Transformer-XL better."""
    task = ResultsTask("", TrainConfig(), own={"transformer-xl": {"slots": 128, "count_matches": True}})
    cores = {agent: agents.config_of(agent, task).core for agent in ("transformer-xl", "transformer-xl-8", "lstm")}
    assert {agent: (core.slots, core.count_matches) for agent, core in cores.items()} == {
        "transformer-xl": (128, True),
        "transformer-xl-8": (8, True),
        "lstm": (64, False),
    }


def test_a_sweep_has_its_budget_and_else_what_the_task_says() -> None:
    """Catches: `expire-span-2` with the task's budget, or with another memory or learning than the task's."""
    task = tasks.load("corridor-1000")
    config = agents.config_of("expire-span-2", task)
    assert (config.agent.memory_budget_end, task.config.agent.memory_budget_end) == (2.0, 32.0)
    assert with_settings(config, {"memory_budget_end": 32.0}) == task.config


def test_a_report_of_agents_whose_episodes_never_ended(cli: Cli, folder: Path) -> None:
    """Catches: a report that fails on a training in which the objective was never known."""
    config = TASK["config"] | {"total_timesteps": 128}  # type: ignore[operator]
    config["env"] = config["env"] | {"env_args": ["min_length=90", "max_length=99", "max_steps=1000"]}
    (folder / "short.json").write_text(json.dumps(TASK | {"config": config}))
    assert cli(*words(folder, names=("lstm",), seeds=1)).status == 0
    assert cli(*words(folder, "--report", names=("lstm",), seeds=1)).status == 0
    assert re.search(
        r"^\| lstm \| 1 \| 0\.000 \| 0\.000 \| 0 of 1 \|  \|  \|  \|", (folder / "RESULTS.md").read_text(), re.M
    )


def test_a_new_setting_makes_no_result_stale_before_it_is_used() -> None:
    """Catches: all results thrown away for a setting that they were made without, or one that was taken away and had
    been used."""
    assert differences({"a": 1, "core.read_margin": 0.0}, {"a": 1}) == []
    assert differences({"a": 1, "core.read_margin": 2.0}, {"a": 1}) == ["core.read_margin 0.0 -> 2.0"]
    assert differences({}, {"core.gone": 3}) == ["core.gone 3 -> None"]


@pytest.mark.parametrize(
    ("agent", "changed", "stale"),
    [
        ("expire-span", {"ramp_length": 2.0}, True),
        ("expire-span-4", {"expire_loss_coef": 0.5}, True),
        ("transformer-xl", {"ramp_length": 2.0, "max_span": 9.0, "expire_loss_coef": 0.5}, False),
        ("transformer-xl-8", {"heads": 1}, True),
        ("none", {"read_margin": 2.0, "slots": 9, "seq_len": 9}, False),
        ("none", {"depth": 1}, True),
        ("lstm", {"seq_len": 8, "forget_at_success": 0.5, "heads": 1}, False),
        ("lstm", {"depth": 1}, True),
        ("expire-span", {"output_norm": False}, False),
        ("recurrent-ppo", {"depth": 1, "slots": 9, "precision": "tf32", "segment_length": 1}, False),
        ("recurrent-ppo", {"dim": 32}, True),
        ("recurrent-ppo", {"gamma": 0.5}, True),
    ],
)
def test_what_an_agent_has_no_use_for_makes_its_results_not_stale(
    agent: str, changed: dict[str, Any], stale: bool
) -> None:
    """Catches: hours of an LSTM's trainings thrown away for a setting of spans, which it doesn't have; and a result
    that is kept though what it is of has changed."""
    before = ResultsTask("", TrainConfig())
    now = dataclasses.replace(before, config=with_settings(before.config, changed))
    one = cell(ResultsConfig(), "a", now, agent, 0)
    assert bool(one.differences(settings_of(config_of(agent, before), before))) == stale


def test_a_killed_worker(cli: Cli, folder: Path) -> None:
    """Catches: a run that is lost, or begun anew, or held for ever, when the process that had it is killed; one that
    comes to something else than in one go."""
    longer(folder, 2)
    command = [sys.executable, "-m", "experiments", *words(folder, "--workers", 2, names=("expire-span",), seeds=2)]
    victim = folder / "runs" / "short" / "expire-span" / "seed0"
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        while len(list((victim / runs.CHECKPOINTS).glob("step-*"))) < 1:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.002)
        pid = re.search(r"process (\d+)", (victim / LOCK).read_text())
        assert pid is not None
        os.kill(int(pid[1]), signal.SIGKILL)
        out, errors = process.communicate(timeout=250)
    assert "was ended by signal 9" in errors
    assert (process.returncode, out) == (0, "2 done\n"), errors
    assert "short expire-span seed 0: gone on with" in errors
    record = json.loads((victim / runs.CONFIG).read_text())
    assert [start["timesteps"] > 0 for start in record["continued"]] == [True]

    (folder / "data").rename(folder / "resumed")
    (folder / "runs").rename(folder / "before")
    assert cli(*words(folder, names=("expire-span",), seeds=1)).status == 0
    result = Path("short", "expire-span", "seed0.json")
    assert learned(folder / "resumed" / result) == learned(folder / "data" / result)


def test_minutes(cli: Cli, folder: Path) -> None:
    """Catches: a lease that ends with work unsaved, an exit status that looks like a failure, a run that begins again
    and not where it stopped, or isn't gone on with for a setting that the agent has no use for."""
    longer(folder, 1000)
    flags = ("--minutes", 4 / 60, "--reserve", 0.5)
    began = time.monotonic()
    outcome = cli(*words(folder, *flags, names=("lstm",)))
    assert time.monotonic() - began < 60
    assert (outcome.status, outcome.out) == (0, "1 interrupted, 1 new\n"), outcome.err
    assert "2 runs are left; to go on: " in outcome.err
    summary = folder / "runs" / "short" / "lstm" / "seed0" / runs.SUMMARY
    first = json.loads(summary.read_text())["timesteps"]
    task = json.loads((folder / "short.json").read_text())
    task["config"]["core"]["ramp_length"] = 2
    (folder / "short.json").write_text(json.dumps(task))
    assert cli(*words(folder, *flags, names=("lstm",))).status == 0
    assert json.loads(summary.read_text())["timesteps"] > first > 0
    points = read_points(summary.parent)
    assert [point.steps for point in points] == list(range(128, points[-1].steps + 1, 128))


def test_ctrl_c(folder: Path) -> None:
    """Catches: workers that Ctrl-C kills before they have saved, or that outlive the command."""
    longer(folder, 1000)
    command = [sys.executable, "-m", "experiments", *words(folder, "--workers", 2)]
    run_dirs = [folder / "runs" / "short" / agent / "seed0" for agent in ("expire-span", "lstm")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        while not all(read_points(run_dir) for run_dir in run_dirs):
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=250)
    assert (process.returncode, out) == (130, "2 interrupted, 2 new\n"), errors
    for run_dir in run_dirs:
        summary = json.loads((run_dir / runs.SUMMARY).read_text())
        assert (summary["stopped_by"], summary["timesteps"] >= 128) == ("signal", True)
        assert list((run_dir / runs.CHECKPOINTS).glob("step-*"))


def test_failures_and_what_is_left_of_them(cli: Cli, folder: Path) -> None:
    """Catches: one run that can't be made and stops all others, that is tried for ever, or never again; a training done
    twice since only its judgement was missing; a run folder of other settings gone on with."""
    run_dir = folder / "runs" / "short" / "expire-span" / "seed0"
    run_dir.mkdir(parents=True)
    (run_dir / "notes.txt").write_text("somebody's")
    outcome = cli(*words(folder, names=("expire-span", "none"), seeds=1))
    assert (outcome.status, outcome.out) == (1, "1 done, 1 failed\n"), outcome.err
    assert "isn't empty and no run of ours" in outcome.err
    (run_dir / "notes.txt").unlink()
    assert "begun" not in cli(*words(folder, names=("expire-span",), seeds=1)).err
    assert cli(*words(folder, "--retry", names=("expire-span",), seeds=1)).status == 0

    trained = (run_dir / runs.MODEL).read_bytes()
    result = folder / "data" / "short" / "expire-span" / "seed0.json"
    before = learned(result)
    result.unlink()
    assert cli(*words(folder, names=("expire-span",), seeds=1)).status == 0
    assert (learned(result), (run_dir / runs.MODEL).read_bytes()) == (before, trained)

    # Killed after its last checkpoint, before its summary.
    result.unlink()
    (run_dir / runs.SUMMARY).unlink()
    assert cli(*words(folder, names=("expire-span",), seeds=1)).status == 0
    assert learned(result) == before

    result.unlink()
    longer(folder, 2)
    outcome = cli(*words(folder, names=("expire-span",), seeds=1))
    assert outcome.status == 1
    assert "is a run of other settings (total_timesteps 1024 -> 2048): remove it" in outcome.err


# --- numbers ---


def test_interval_by_hand() -> None:
    """Catches: a mean over other seeds than the middle ones, quantiles of something else than resampled means."""
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 0.0, 3.0])) == 2.0
    assert interquartile_mean(np.array([1.0, 3.0, 8.0])) == 4.0
    # Of two, a resample has the mean 0 or 1 in a fourth of the cases each.
    assert bootstrap_interval(np.array([0.0, 1.0])) == (0.0, 1.0)
    # Of (0, 0, 0, 0, 0, 0, 1, 1), resampled, the middle four's mean: ones are k ~ B(8, 1/4), the mean is
    # min(max(k - 2, 0), 4) / 4. P(k >= 5) = 0.0273 and P(k >= 6) = 0.0042, so the upper end is 3/4; P(k <= 2) = 0.679.
    assert bootstrap_interval(np.array([0.0] * 6 + [1.0] * 2)) == (0.0, 0.75)
    assert bootstrap_interval(np.array([0.5])) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_intervals_of_curves_are_those_of_their_points(values: list[float]) -> None:
    """Catches: an interval that leaves the range of the seeds, or differs where the same seeds are part of a curve."""
    seeds = np.array(values)
    interval = bootstrap_interval(seeds, 200)
    curve = bootstrap_interval(np.stack([seeds, 2 * seeds], axis=1), 200)
    assert interval is not None
    assert curve is not None
    low, high = interval
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    np.testing.assert_allclose(curve, [[low, 2 * low], [high, 2 * high]], atol=1e-12)


@given(st.integers(1, 1000))
def test_thinned_curves(count: int) -> None:
    """Catches: a curve without its last point, with one twice, or as long as the training."""
    empty = dict.fromkeys(COLUMNS.keys() - {"success_rate"})
    points = [Point(i, i / 2, {"success_rate": i / count, **empty}) for i in range(count)]
    curve = thinned(points)
    assert curve.keys() == {"steps", "seconds", "success_rate"}
    steps = [int(step or 0) for step in curve["steps"]]
    assert len(steps) == min(count, POINTS)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, count - 1)


def test_seconds_of_a_killed_session_count(tmp_path: Path) -> None:
    """Catches: device time that a kill makes disappear, points counted twice, a goal reached in what was lost, or by
    the first few episodes to end."""
    head = "time/total_timesteps,time/time_elapsed,rollout/success_rate,rollout/episodes,rollout/ep_rew_mean\n"
    (tmp_path / "progress.csv").write_text(f"{head}100,1,1.0,3,0\n200,2,0.2,10,0\n300,3,0.9,10,0\n400,4,0.9")
    (tmp_path / "progress-000000000200.csv").write_text(f"{head}300,1.5,0.3,10,0\n400,2.5,0.8,10,0\n")
    points = read_points(tmp_path)
    assert [(point.steps, point.seconds) for point in points] == [(100, 1), (200, 2), (300, 4.5), (400, 5.5)]
    first = first_at(points, "success_rate", 0.8, episodes=10)
    assert first is not None
    assert first.steps == 400
    assert first_at(points, "success_rate", 0.95, episodes=10) is None


def test_a_goal_of_zero_can_be_reached() -> None:
    """Catches: a mean return of exactly 0 taken for none."""
    points = [Point(100 * (i + 1), i, {"mean_return": value}) for i, value in enumerate((None, -0.5, 0.0, 1.0))]
    assert first_at(points, "mean_return", 0.0, episodes=10) == points[2]
