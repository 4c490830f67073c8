"""`expire-span results --agents recurrent-ppo`: the agent to compare with that isn't ours."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from experiments import runs
from experiments.callbacks import StopRequest
from experiments.config import ResultsConfig
from experiments.results import recurrent_ppo
from experiments.results.curve import read_log
from experiments.results.matrix import Cell, cells
from experiments.results.record import RunRecord, read_record
from experiments.results.run import run_cell
from tests.experiments.conftest import Cli
from tests.experiments.test_errors import check

STEPS = 512


def task(vec_env: str) -> dict[str, Any]:
    """Corridors of many lengths, so that which episodes are played can be told from these."""
    env = {"env_id": "ExpireSpan/Corridor-v0", "env_args": ["max_length=100", "max_steps=3"], "n_envs": 8}
    return {
        "format_version": 1,
        "title": "corridors",
        "config": {
            "env": {**env, "vec_env": vec_env},
            "core": {"dim": 16, "depth": 1, "heads": 2, "slots": 4},
            "agent": {"n_steps": 8, "batch_size": 32, "n_epochs": 1, "ent_coef_end": 0.0, "compile": False},
            "total_timesteps": STEPS,
        },
        "evaluation": {"episodes": 40},
        "goal": 0.01,
    }


def cell_of(folder: Path, vec_env: str, agent: str = recurrent_ppo.NAME) -> tuple[Cell, ResultsConfig]:
    """A cell of a tiny matrix."""
    (folder / "corridors.json").write_text(json.dumps(task(vec_env)))
    where = {"runs": str(folder / "runs"), "data": str(folder / "data"), "device": "cpu"}
    config = ResultsConfig((str(folder / "corridors.json"),), (agent,), (0,), **where)  # type: ignore[arg-type]
    (cell,) = cells(config)
    return cell, config


def run(folder: Path, vec_env: str, agent: str = recurrent_ppo.NAME) -> RunRecord:
    """The result of its run."""
    record = run_cell(*cell_of(folder, vec_env, agent), StopRequest(), "results")
    assert record is not None
    return record


@pytest.mark.parametrize("vec_env", ["serial", "batched"])
def test_it_is_trained_as_long_and_judged_by_the_same_episodes(tmp_path: Path, vec_env: str) -> None:
    """Catches: an agent that others are compared with on easier episodes, fewer of them, or after fewer steps; a result
    without its curve."""
    pytest.importorskip("sb3_contrib")
    peer, ours = run(tmp_path, vec_env), run(tmp_path, vec_env, "none")
    assert (peer.steps, peer.slots, peer.evaluation["live_memories"]) == (ours.steps, None, None) == (STEPS, None, None)
    assert peer.curve["steps"] == ours.curve["steps"] == list(range(64, STEPS + 1, 64))
    # How many there are of each length, by four classes, tells other episodes apart.
    for record in (peer, ours):
        assert record.evaluation["episodes"] == 40
        assert len(record.evaluation["success_by_length"]) == 4

    def lengths(record: RunRecord) -> dict[str, int]:
        return {name: part["episodes"] for name, part in record.evaluation["success_by_length"].items()}

    assert lengths(peer) == lengths(ours)
    assert read_record(cell_of(tmp_path, vec_env)[0].record) == peer


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    """Catches: a lease that ends with the work lost, or a training that begins again, or trains on beyond its steps."""
    pytest.importorskip("sb3_contrib")
    cell, config = cell_of(tmp_path, "batched")
    assert run_cell(cell, config, StopRequest(signal=2), "results") is None
    assert cell.state() == "interrupted"
    summary = json.loads((cell.run_dir / runs.SUMMARY).read_text())
    assert 0 < summary["timesteps"] < STEPS
    record = run_cell(cell, config, StopRequest(), "results")
    assert record is not None
    assert record.steps == STEPS + summary["timesteps"] % 64
    assert [start["timesteps"] for start in json.loads((cell.run_dir / runs.CONFIG).read_text())["continued"]] == [
        summary["timesteps"]
    ]
    assert read_log(cell.run_dir).points[-1].steps == record.steps


def test_it_has_the_settings_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: an agent that is compared with at learning settings of its own, or without the encoder of the others."""
    sb3_contrib = pytest.importorskip("sb3_contrib")
    made = []
    before = sb3_contrib.RecurrentPPO.learn

    def learn(model: Any, *arguments: Any, **named: Any) -> Any:
        made.append(model)
        return before(model, *arguments, **named)

    monkeypatch.setattr(sb3_contrib.RecurrentPPO, "learn", learn)
    run(tmp_path, "batched")
    (model,) = made
    assert (model.n_steps, model.batch_size, model.n_epochs, model.n_envs) == (8, 32, 1, 8)
    assert model.ent_coef == 0.0, "the entropy's coefficient falls to its end"
    assert type(model.policy.features_extractor).__name__ == "MiniGridExtractor"
    assert model.policy.features_extractor.features_dim == 16
    assert model.policy.lstm_actor.hidden_size == 256


def test_without_sb3_contrib(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a traceback for a missing extra after other runs are done, or a report or list that needs it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sb3_contrib" else found(name))
    cell_of(tmp_path, "batched")
    words = ("results", "--tasks", tmp_path / "corridors.json", "--agents", "none", "recurrent-ppo", "--seeds", "0")
    where = ("--runs", tmp_path / "runs", "--data", tmp_path / "data", "--device", "cpu")
    check(cli(*words, *where), "sb3-contrib isn't installed: pip install 'expire-span[bench]'")
    assert not (tmp_path / "runs").exists()
    assert "recurrent-ppo" in cli(*words, *where, "--list").out
