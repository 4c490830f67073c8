"""`expire-span bench`."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from agents.collection import Timings
from experiments.bench import clock, command, row, rows
from experiments.bench.build import build_agent
from experiments.bench.clock import OutsideClock, Stopwatch, TimedVecEnv
from experiments.bench.memory import environments_that_fit, peak_memory_mib
from experiments.bench.replay import ActionRecorder, seconds_alone
from experiments.bench.rows import ROWS, Job
from experiments.config import BenchConfig
from experiments.environments import training_envs
from experiments.errors import UserError
from tests.experiments.conftest import Cli

SIZES: dict[str, Any] = {
    "n_envs": 3,
    "n_steps": 8,
    "batch_size": 16,
    "n_epochs": 1,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "slots": 20,
}
TINY = BenchConfig(env_args=("max_steps=9",), seconds=0.01, device="cpu", torch_threads=1, **SIZES)
FLAGS = (
    *(word for name, size in SIZES.items() for word in (f"--{name.replace('_', '-')}", size)),
    *("--env-args", "max_steps=9", "--seconds", 0.01, "--device", "cpu", "--torch-threads", 1),
)
HAS_SB3_CONTRIB = importlib.util.find_spec("sb3_contrib") is not None
ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def test_rows_side_by_side(cli: Cli, tmp_path: Path) -> None:
    """Catches: a row that can't be measured, a JSON that a program can't read, or one that lacks what is promised."""
    agents = ["serial", "batched", *(["recurrent-ppo", "recurrent-ppo-fastest"] if HAS_SB3_CONTRIB else [])]
    output = tmp_path / "rows.json"
    outcome = cli("bench", *FLAGS, "--agents", *agents, "--json", "--output", output)
    assert outcome.status == 0, outcome.out + outcome.err
    results = json.loads(outcome.out)
    assert json.loads(output.read_text()) == results
    assert [result["name"] for result in results] == [ROWS[agent].name for agent in agents]
    for result in results:
        assert (result["env"], result["device"], result["n_envs"]) == ("MiniGrid-MemoryS13Random-v0", "cpu", 3)
        assert result["error"] is None
        assert result["steps"] % (3 * 8) == 0, "whole iterations"
        # Speeds are rounded to 0.1 steps/s, seconds to 0.01.
        slowest, fastest = min(result["turns"]) - 0.1, max(result["turns"]) + 0.1
        assert slowest * (result["seconds"] - 0.01) < result["steps"] < fastest * (result["seconds"] + 0.01)
        shares = [result[f"{phase}_share"] for phase in ("acting", "env", "update")]
        assert min(shares) > 0
        # The two clocks are read one after the other, and the system may take the processor away in between.
        assert 0.8 < sum(shares) < 1.1
        assert result["peak_memory_mib"] > 50
    stock = [result["turns"] for result in results if result["name"] == "recurrent-ppo stock"]
    for result in results:
        assert len(result["turns"]) == 5
        assert result["steps_per_second"] == float(np.median(result["turns"]))
        ratios = [ours / theirs for ours, theirs in zip(result["turns"], stock[0], strict=True)] if stock else []
        expected = pytest.approx(float(np.median(ratios)), abs=0.006) if stock else None
        assert result["ratio"] == expected


def test_a_failed_row_and_the_table(cli: Cli) -> None:
    """Catches: a row that fails and takes the others with it, a failure that isn't told, or a status of 0 after one."""
    outcome = cli("bench", *FLAGS, "--dim", 15, "--agents", "serial", "ppo")
    assert outcome.status == 1
    assert "expire-span serial failed: " in outcome.out
    assert "ppo mlp failed" not in outcome.out
    # On a busy machine a sentence below the table names the row once more.
    line = next(line for line in outcome.out.splitlines() if line.strip().startswith("ppo mlp"))
    assert "%" in line, "the other row was measured"


def test_slots_table(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: rows of the same slots or spans throughout, or without the time of an acting step."""
    monkeypatch.setattr(rows, "SLOTS", (18, 24))
    monkeypatch.setattr(rows, "SPANS", (32.0,))
    outcome = cli("bench", *FLAGS, "--slots-table", "--json")
    assert outcome.status == 0, outcome.out + outcome.err
    results = json.loads(outcome.out)
    assert [(result["slots"], result["max_span"]) for result in results] == [(18, 32), (24, 32)]
    assert all(result["acting_ms"] > 0 and result["vec_env"] == "batched" for result in results)


def test_ratios() -> None:
    """Catches: a ratio upside down, to another row or another environment, of means over turns of unlike speed, or a
    number where there's nothing to compare with."""

    def result(name: str, env: str, speed: float | None) -> dict[str, Any]:
        turns = None if speed is None else [speed, 2 * speed, 30.0]
        return {"name": name, "env": env, "env_args": [], "turns": turns}

    results = [
        result("expire-span serial", "A", 500.0),
        result("recurrent-ppo stock", "A", 200.0),
        result("recurrent-ppo fastest", "A", 300.0),
        result("expire-span batched", "A", None),
        result("expire-span serial", "B", 500.0),
        result("recurrent-ppo stock", "C", None),
        result("expire-span serial", "C", 500.0),
    ]
    command.add_ratios(results)
    assert [result["ratio"] for result in results] == [2.5, 1.0, 1.5, None, None, None, None]


class FakeTime:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def perf_counter(self) -> float:
        """Seconds."""
        return self.seconds


class SlowEnvs(VecEnv):
    """One environment whose steps take 3 seconds of a fake clock."""

    def __init__(self, time: FakeTime) -> None:
        super().__init__(1, spaces.Box(0, 1, (1,)), spaces.Discrete(2))
        self._time = time

    def reset(self) -> np.ndarray:
        """The one observation there is."""
        return np.zeros((1, 1), np.float32)

    def step_async(self, actions: np.ndarray) -> None:
        """Takes a second."""
        self._time.seconds += 1

    def step_wait(self) -> Any:
        """Takes two seconds."""
        self._time.seconds += 2
        return self.reset(), np.zeros(1, np.float32), np.zeros(1, bool), [{}]

    def close(self) -> None:
        """Nothing to do."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """None of them."""
        return [None]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Nothing to do."""

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """None of them."""
        return [None]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """In nothing."""
        return [False]


class FakeModel:
    """As much of an algorithm as the callbacks look at."""

    num_timesteps = 0
    logger = None

    def get_env(self) -> None:
        """None."""


def test_timings_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: waiting for environments counted as acting, an update that isn't counted or counted in its rollout, a
    warm-up in the result, an iteration cut short."""
    time = FakeTime()
    monkeypatch.setattr(clock, "time", time)
    env = TimedVecEnv(SlowEnvs(time))
    outside = OutsideClock(env, CPU)
    stopwatch = Stopwatch(seconds=40, warm_up=1, device=CPU, timings=outside.so_far)
    model: Any = FakeModel()
    for callback in (outside, stopwatch):
        callback.init_callback(model)
    iterations = 0
    while True:
        for callback in (outside, stopwatch):
            callback.on_rollout_start()
        if not stopwatch.on_step():
            break
        for _ in range(2):
            time.seconds += 0.5  # acting
            env.step(np.zeros(1))
        time.seconds += 4  # returns and advantages
        for callback in (outside, stopwatch):
            callback.on_rollout_end()
        time.seconds += (1000, 5, 13)[iterations]  # the update; the first one compiles
        iterations += 1
        model.num_timesteps += 8
    # An iteration: acting 2 * 0.5 + 4, environments 2 * 3, update 5 or 13, together 16 or 24; two reach 40 seconds.
    assert iterations == 3
    assert stopwatch.span is not None
    assert stopwatch.span.steps == 16
    assert stopwatch.span.seconds == 40
    assert stopwatch.span.timings == (10, 12, 18)
    assert stopwatch.span.warm_up_seconds == 1011
    assert stopwatch.span.unevenness == 1.5


def test_waiting_for_a_turn_isnt_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: other rows' turns counted in this one's time, acting or slowest iteration; speeds of all turns alike."""
    time = FakeTime()
    monkeypatch.setattr(clock, "time", time)
    env = TimedVecEnv(SlowEnvs(time))
    outside = OutsideClock(env, CPU)

    def wait() -> None:
        time.seconds += 500

    stopwatch = Stopwatch(seconds=20, warm_up=1, device=CPU, timings=outside.so_far, turns=2, wait=outside.unseen(wait))
    model: Any = FakeModel()
    for callback in (outside, stopwatch):
        callback.init_callback(model)
    for update in (1000, 5, 13, 99):
        for callback in (outside, stopwatch):
            callback.on_rollout_start()
        if not stopwatch.on_step():
            break
        time.seconds += 1  # acting
        env.step(np.zeros(1))
        for callback in (outside, stopwatch):
            callback.on_rollout_end()
        time.seconds += update
        model.num_timesteps += 8
    # Turns of 10 seconds at least: one iteration takes 1 + 3 + 5, so that two make the first turn.
    assert stopwatch.span is None
    for callback in (outside, stopwatch):
        callback.on_rollout_start()
    span = stopwatch.span
    assert span is not None
    assert span.speeds == [16 / (9 + 17), 8 / 103]
    assert (span.steps, span.seconds) == (24, 9 + 17 + 103)
    assert span.timings == (3, 9, 5 + 13 + 99)
    assert span.unevenness == 103 / 9


def test_env_share_taken_off_acting() -> None:
    """Catches: environments inside a graph counted twice or not at all, or an acting share below 0."""
    assert row.with_env_share(Timings(10.0, 0.0, 5.0), 4.0) == (6.0, 4.0, 5.0)
    assert row.with_env_share(Timings(10.0, 3.0, 5.0), 4.0) == (9.0, 4.0, 5.0)
    assert row.with_env_share(Timings(10.0, 4.5, 5.0), 4.0) == (10.0, 4.5, 5.0)
    assert row.with_env_share(Timings(3.0, 0.0, 5.0), 4.0) == (0.0, 3.0, 5.0)


def test_how_many_fit() -> None:
    """Catches: a line through the origin, though the model takes memory too; a number rounded up; a division by 0."""
    # 100 MiB for the model and 2 MiB an environment: 450 in 1000 MiB, 449 in 999.
    assert environments_that_fit(((10, 120.0), (20, 140.0)), 1000.0) == 450
    assert environments_that_fit(((10, 120.0), (20, 140.0)), 999.0) == 449
    assert environments_that_fit(((10, 120.0), (20, 140.0)), 50.0) == 0
    assert environments_that_fit(((10, 120.0), (20, 120.0)), 1000.0) == 20


def test_out_of_memory_says_how_many_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: an out-of-memory error that leaves the user to guess how many environments to take."""

    def answer(job: Job) -> dict[str, Any]:
        n_envs = job.config.n_envs
        if n_envs > 450:
            return {"error": f"{n_envs} environments don't fit into the device's memory", "free_mib": 1000.0}
        return {"peak_memory_mib": 100.0 + 2 * n_envs, "error": None}

    monkeypatch.setattr(command, "run_apart", answer)
    job = Job("serial", "expire-span serial", replace(TINY, n_envs=1600))
    result = command.described(job, answer(job))
    assert result["error"] == ("1600 environments don't fit into the device's memory (1,000 MiB free); about 450 do")
    assert result["steps_per_second"] is None
    job = Job("serial", "expire-span serial", replace(TINY, n_envs=16000))
    result = command.described(job, answer(job))
    assert result["error"] == "16000 environments don't fit into the device's memory, nor do 1000"


@pytest.mark.parametrize("wrapped", [False, True])
def test_out_of_memory_is_seen(monkeypatch: pytest.MonkeyPatch, wrapped: bool) -> None:
    """Catches: an out-of-memory error taken for a wrong setting, since building an agent turns it into one."""

    def measure(*_: object) -> None:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.")
        except torch.OutOfMemoryError as error:
            if wrapped:
                raise UserError(str(error)) from error
            raise

    monkeypatch.setattr(row, "measure", measure)
    answer = row.answer({"key": "serial", "config": asdict(TINY), "turns": 1})
    assert answer == {"error": "3 environments don't fit into the device's memory", "free_mib": None}


def test_a_process_that_dies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches: a traceback, or an empty row, after a row's process was killed or crashed."""
    job = Job("serial", "expire-span serial", TINY)
    for script, error in (
        ("kill -9 $$", "its process was ended by signal 9; 9 is mostly for want of memory"),
        ("echo 'first' >&2; echo 'last words' >&2; exit 3", "its process ended with status 3: last words"),
    ):
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\nread -r job\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        assert command.run_apart(job)["error"] == error


def test_peak_memory_is_this_process_s() -> None:
    """Catches: KiB taken for bytes, a peak that forgets what was given back, or the peak of the parent process."""
    block = np.ones(600 * 2**20, np.uint8)
    assert peak_memory_mib(CPU) > 600
    source = (
        "import numpy, torch; from experiments.bench.memory import peak_memory_mib as peak; cpu = torch.device('cpu');"
        "before = peak(cpu); block = numpy.ones(300 * 2**20, numpy.uint8); del block; print(before, peak(cpu))"
    )
    ended = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = map(float, ended.stdout.split())
    assert 50 < before < 600
    assert 290 < after - before < 310
    del block


def _without(name: str) -> Callable[[str], object | None]:
    found = importlib.util.find_spec
    return lambda wanted: None if wanted == name else found(wanted)


def test_without_sb3_contrib(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a traceback for a missing extra, or a default that needs it."""
    monkeypatch.setattr(rows.importlib.util, "find_spec", _without("sb3_contrib"))
    outcome = cli("bench", *FLAGS, "--agents", "recurrent-ppo")
    assert outcome.status == 2
    assert "--agents recurrent-ppo: sb3-contrib isn't installed: pip install 'expire-span[bench]'" in outcome.err
    chosen, notes = rows.jobs(TINY)
    assert {ROWS[job.key].agent for job in chosen} == {"expire-span", "ppo"}
    assert len([note for note in notes if "pip install 'expire-span[bench]'" in note]) == 3


def test_default_rows_are_those_that_can_be() -> None:
    """Catches: a default row of batched environments where there are none, or none where there are."""
    keys = {job.key for job in rows.jobs(TINY)[0]}
    assert {"serial", "subprocess", "batched", "ppo"} <= keys
    keys = {job.key for job in rows.jobs(replace(TINY, env_id="CartPole-v1", env_args=()))[0]}
    assert {"serial", "subprocess", "ppo"} <= keys
    assert not {"batched", "recurrent-ppo-batched"} & keys


def test_mistakes(cli: Cli, tmp_path: Path) -> None:
    """Catches: minutes of measuring before a mistake is told, or a traceback for one."""
    for arguments, message in (
        (("--env", "MiniGrid-MemoryS14-v0"), "environment: "),
        (("--env-args", "no_such_argument=3"), "environment: "),
        (("--seconds", 0), "--seconds 0.0: must be above 0"),
        (("--seconds", "nan"), "must be above 0"),
        (("--n-envs", 0), "--n-envs 0: must be at least 1"),
        (("--torch-threads", 0), "--torch-threads 0: must be between 1 and 1024"),
        (("--device", "tpu"), "isn't a device"),
        (
            ("--agents", "serial", "nope"),
            "--agents nope: there is no such row, only serial, subprocess, batched, envpool, r",
        ),
        (("--output", tmp_path), "is a folder"),
        (("--output", tmp_path / "no" / "rows.json"), "there is no folder"),
        (("--env", "CartPole-v1", "--env-args", "--agents", "batched"), "CartPole-v1 has no batched version"),
        (("--env-args", "agent_view_size=3", "--agents", "envpool"), "no other agent_view_size than 7"),
        (("--slots-table", "--agents", "serial"), "leave out --agents"),
    ):
        outcome = cli("bench", *FLAGS, *arguments)
        assert outcome.status == 2, arguments
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
        assert not outcome.out


@pytest.mark.parametrize("key", ["serial", "subprocess"])
def test_replay_lives_through_the_same_episodes(key: str) -> None:
    """Catches: a replay with other seeds or actions, or one group's taken for the other's: then environments end
    elsewhere than the training left them, and what they can do alone is measured on other episodes."""
    made: Callable[[], VecEnv] = partial(training_envs, rows.train_config(TINY, ROWS[key]).env, 7, CPU)
    recorder = ActionRecorder()
    ends: list[Any] = []
    with closing(made()) as env:
        model = build_agent(ROWS[key], replace(TINY, seed=7), env, CPU)
        model.learn(2 * 3 * 8, callback=recorder)
        ends.append([env.get_attr(name) for name in ("agent_pos", "agent_dir", "step_count", "success_pos")])
    with closing(made()) as env:
        assert seconds_alone(env, recorder.actions, 5) > 0
        ends.append([env.get_attr(name) for name in ("agent_pos", "agent_dir", "step_count", "success_pos")])
    assert len(recorder.actions) == 2 * 8
    assert repr(ends[0]) == repr(ends[1])
