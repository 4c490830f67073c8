"""`expire-span results --agents recurrent-ppo`: the agent to compare with that isn't ours."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from experiments import callbacks, runs
from experiments.callbacks import StopRequest
from experiments.config import ResultsConfig
from experiments.results import recurrent_ppo
from experiments.results.curve import read_points
from experiments.results.matrix import Cell, cells
from experiments.results.record import RunRecord, read_record
from experiments.results.run import run_cell
from tests.experiments.conftest import Cli
from tests.experiments.test_errors import check

STEPS = 512
LEARNING = {
    **{"n_steps": 8, "batch_size": 32, "n_epochs": 1, "learning_rate": 1e-3, "gamma": 0.9, "gae_lambda": 0.8},
    **{"clip_range": 0.3, "normalize_advantage": False, "ent_coef": 0.5, "vf_coef": 0.25, "max_grad_norm": 2.0},
    "stats_window_size": 77,
}
"""Other than the defaults of either agent."""


def task(vec_env: str) -> dict[str, Any]:
    """Corridors of many lengths, so that which episodes are played can be told from these."""
    env = {"env_id": "ExpireSpan/Corridor-v0", "env_args": ["max_length=100", "max_steps=3"], "n_envs": 8}
    return {
        "format_version": 1,
        "title": "corridors",
        "config": {
            "env": {**env, "vec_env": vec_env},
            "core": {"dim": 16, "depth": 1, "heads": 2, "slots": 4},
            "agent": {**LEARNING, "learning_rate_end": 1e-4, "ent_coef_end": 0.25, "compile": False},
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


def test_it_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an hour of silence, and progress that asks an agent that isn't ours for its live memories."""
    pytest.importorskip("sb3_contrib")
    monkeypatch.setattr(callbacks, "LINES_EVERY", 0)
    run(tmp_path, "batched")
    shown = [line for line in capsys.readouterr().err.splitlines() if " steps/s" in line]
    assert [line.split(",")[0] for line in shown] == [f"{steps} of {STEPS} steps" for steps in range(64, STEPS + 1, 64)]


def test_what_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a stop that isn't heard after a run of ours, a lease that ends with the work lost, a training that
    begins again, or counts steps that it threw away."""
    pytest.importorskip("sb3_contrib")
    # As a worker has it: the same request for all of its runs.
    request = StopRequest()
    assert run_cell(*cell_of(tmp_path, "batched", "none"), request, "results") is not None
    cell, config = cell_of(tmp_path, "batched")
    stopped = 192

    def learned(model: Any) -> None:
        if model.num_timesteps >= stopped:
            request.signal = 2

    monkeypatch.setattr(recurrent_ppo.LogsEpisodes, "_on_rollout_end", lambda callback: learned(callback.model))
    assert run_cell(cell, config, request, "results") is None
    monkeypatch.undo()
    assert cell.state() == "interrupted"
    assert json.loads((cell.run_dir / runs.SUMMARY).read_text()) == {"stopped_by": "signal", "timesteps": stopped}
    request.signal = None
    record = run_cell(cell, config, request, "results")
    assert record is not None
    assert record.steps == STEPS, "each step was counted once"
    (again,) = json.loads((cell.run_dir / runs.CONFIG).read_text())["continued"]
    assert (again["timesteps"], "sb3-contrib" in again["versions"]) == (stopped, True)
    assert [point.steps for point in read_points(cell.run_dir)] == list(range(64, STEPS + 1, 64))


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
    has = {name: getattr(model, name if name != "stats_window_size" else "_stats_window_size") for name in LEARNING}
    assert (has.pop("ent_coef"), has.pop("learning_rate")(0.0), has.pop("clip_range")(1.0)) == (
        0.25,
        pytest.approx(1e-4),
        0.3,
    )
    assert has.items() <= LEARNING.items()
    assert model.n_envs == 8
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
