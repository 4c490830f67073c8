"""`expire-span tune`, and the preset files that it writes."""

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import preset_file, presets, runs
from experiments.cli import parse
from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig, TuneConfig
from experiments.environments import training_envs
from experiments.model import build_model
from experiments.settings import setting, with_settings
from experiments.tune import command
from experiments.tune.fit import fitted
from experiments.tune.space import SEARCHABLE, default_search, parse_search, propose
from tests.experiments import faulty
from tests.experiments.conftest import TINY, Cli
from tests.experiments.test_errors import check

needs_optuna = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="the extra `tune`")

CORRIDOR = (
    *("--env", "ExpireSpan/Corridor-v0", "--env-args", "min_length=3", "max_length=4", "max_steps=8"),
    *("--vec-env", "batched", *TINY, "--depth", "1", "--n-envs", "16", "--n-steps", "8"),
    *("--total-timesteps", "384", "--episodes", "4"),
)
PRESSING = (
    *("--env", "ExpireSpanTest/Pressing-v0", *TINY, "--depth", "1", "--n-steps", "8", "--total-timesteps", "128"),
    *("--episodes", "4"),
)
RATES = ("--search", "learning_rate=1e-3:1e-1:log")


class Pressing(gym.Env[Any, Any]):
    """Four steps in which the second of two buttons pays. It knows no success, and can interrupt the program."""

    observation_space, action_space = spaces.Box(0, 1, (2,), np.float32), spaces.Discrete(2)
    made: ClassVar[int] = 0
    steps: ClassVar[int] = 0
    interrupt_at: ClassVar[int | None] = None

    def __init__(self, fading: bool = False) -> None:
        """With `fading`, each environment made pays less than all before it, whatever the agent does."""
        Pressing.made += 1
        self._toll = 2.0 * Pressing.made if fading else 0.0
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return np.ones(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        Pressing.steps += 1
        self._step += 1
        if Pressing.steps == Pressing.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        return np.ones(2, np.float32), float(action) - self._toll, self._step == 4, False, {}


gym.register("ExpireSpanTest/Pressing-v0", entry_point=lambda **kwargs: Pressing(**kwargs))


def tuned(cli: Cli, study: Path, *arguments: object, status: int = 0) -> dict[str, Any]:
    """What `tune --json` says, which is all that it prints."""
    outcome = cli("tune", "--study", study, *arguments, "--json")
    assert outcome.status == status, outcome.err
    assert "Traceback" not in outcome.err
    result = json.loads(outcome.out)
    assert isinstance(result, dict)
    return result


def by_number(result: dict[str, Any]) -> list[tuple[dict[str, Any], float]]:
    """Settings and value of the complete trials, in the order in which they began."""
    ordered = sorted(result["best"], key=lambda trial: trial["trial"])
    return [(trial["settings"], trial["value"]) for trial in ordered]


# --- what is searched ---

WRONG = [
    (
        "slotz=3:4",
        ("--search slotz: can't be searched; did you mean slots? These can: ", "slots", "learning_rate", "n_envs"),
    ),
    ("net_arch=8,16", ("net_arch: can't be searched",)),
    ("total_timesteps=8,16", ("total_timesteps: can't be searched",)),
    ("slots", ("isn't NAME=LOW:HIGH[:log] or NAME=A,B,C",)),
    ("slots=", ("isn't NAME=LOW:HIGH",)),
    ("slots=3:3", ("LOW must be below HIGH", "--slots 3")),
    ("slots=3:4:lin", ("nothing or :log, not :lin",)),
    ("slots=1.5:3", ("'1.5' must be a whole number",)),
    ("learning_rate=low:1", ("'low' must be a number",)),
    ("learning_rate=0:1:log", ("must begin above 0",)),
    ("gamma=0.9:1.5", ("--gamma 1.5: must be between 0.0 and 1.0",)),
    ("gamma=0.9,-1", ("--gamma -1: must be between",)),
    ("memory=1:2", ("memory is one of expire-span, transformer-xl, lstm, gru, none", "memory=A,B,C")),
    ("memory=expire-span,rnn", ("'rnn' must be one of expire-span",)),
    ("normalize_advantage=1,2", ("'1' must be true or false",)),
    ("slots=8", ("one value leaves nothing to search", "--slots 8")),
    ("slots=8,8", ("a value is given twice",)),
    ("ramp_power=0:8", ("--ramp-power 0.0: must be above 0",)),
    ("ramp_power=1:200", ("ramp_power=200.0", "at most 100")),
    ("read_margin=0:2", ("read_margin=0.002 must be 0, or between 1 and 100",)),
    ("read_margin=0,0.5,2", ("read_margin=0.5 must be 0, or between 1 and 100",)),
    ("initial_span=0:0.5", ("initial_span=0.0 is a share of max_span",)),
    ("heads=0:4", ("heads=0 must divide",)),
    ("depth=1:10000000", ("depth=10000000 must be at most 1000",)),
    ("segment_length=0:64", ("--segment-length 0: must be at least 1",)),
    ("ent_coef_end=-1,2", ("--ent-coef-end -1: must be 0 or more",)),
    ("dim=8:99999999999999999999", ("must be at most 1000000000000",)),
    ("clip_range_vf=0:1", ("clip_range_vf=0.0 must be a finite number above 0",)),
    ("sde_sample_freq=-5:4", ("sde_sample_freq=-5 must be a whole number, at least -1",)),
]


def test_a_transformer_xl_has_the_slots_that_are_proposed() -> None:
    """Catches: a search over slots that are all moved above a ramp which a Transformer-XL doesn't have."""
    for slots in (4, 8, 16):
        config = TrainConfig(core=CoreConfig(memory="transformer-xl", slots=slots))
        assert fitted(config, {"slots"}).core.slots == slots


@pytest.mark.parametrize(("word", "said"), WRONG, ids=[word for word, _ in WRONG])
@needs_optuna
def test_wrong_search(cli: Cli, tmp_path: Path, word: str, said: tuple[str, ...]) -> None:
    """Catches: a range that is only found wrong when a trial draws from it, or one that is silently left out."""
    check(cli("tune", "--study", tmp_path / "study", *CORRIDOR, "--search", word), *said)
    assert not list(tmp_path.iterdir())


def test_search_words() -> None:
    """Catches: whole numbers searched as fractions, a None that becomes a word, dimensions that don't read back."""
    words = ["learning-rate=1e-4:1:log", "slots=4:12", "segment_length=None,8", "memory=none,lstm", "gamma=0.9,1"]
    dimensions = parse_search(words, TrainConfig())
    assert list(map(str, dimensions)) == [
        *("learning_rate=0.0001:1.0:log", "slots=4:12", "segment_length=None,8", "memory=none,lstm", "gamma=0.9,1")
    ]
    assert parse_search(map(str, dimensions), TrainConfig()) == dimensions


@pytest.mark.parametrize(
    "word",
    [
        "ramp_gradient=True,False",
        "count_matches=True,False",
        "read_margin=0,1.5",
        "read_margin=1:4",
        "ramp_power=0.5:8",
        "heads=2,3",
        "dim=7:33",
        "initial_span=None,0.2",
    ],
)
def test_values_that_fit_some_settings_are_searched(word: str) -> None:
    """Catches: a 0 that stands alone refused as a range's would be; a value refused that other settings, or the trial's
    own, moved to fit, may have."""
    assert len(parse_search([word], TrainConfig(core=CoreConfig(dim=16)))) == 1


@pytest.mark.parametrize("name", presets.names())
def test_default_search_reads_back(name: str) -> None:
    """Catches: a default that `--search` would refuse, so that a study couldn't be gone on with."""
    config = presets.load(name).config
    dimensions = default_search(config, fixed={"gamma"})
    assert parse_search(map(str, dimensions), config) == dimensions
    names = {dimension.name for dimension in dimensions}
    assert {"learning_rate", "slots", "max_span", "ramp_length", "dim", "batch_size"} <= names <= SEARCHABLE.keys()
    assert "gamma" not in names
    for memory in ("none", "lstm"):
        without = dataclasses.replace(config, core=dataclasses.replace(config.core, memory=memory))
        assert not {"slots", "max_span"} & {dimension.name for dimension in default_search(without, ())}


def test_default_search_fits() -> None:
    """Catches: proposals that no agent can be made of, or only with a warning that a size was changed."""
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for name in ("corridor", "memory-s9"):
        config = presets.load(name).config
        dimensions = default_search(config, ())
        for _ in range(4):
            proposed = propose(dimensions, study.ask())
            candidate = fitted(with_settings(config, proposed), proposed.keys())
            candidate.check()
            vec_env = training_envs(candidate.env, 0)
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                build_model(candidate, vec_env, torch.device("cpu"))
            vec_env.close()
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))


@settings(max_examples=200)
@given(
    core=st.builds(
        CoreConfig,
        dim=st.integers(1, 300),
        heads=st.integers(1, 8),
        slots=st.integers(2, 200),
        ramp_length=st.floats(0.5, 300),
    ),
    agent=st.builds(
        AgentConfig,
        n_steps=st.integers(1, 200),
        segment_length=st.none() | st.integers(1, 200),
        batch_size=st.integers(1, 5000),
    ),
    n_envs=st.integers(1, 64),
    searched=st.sets(st.sampled_from(["dim", "slots", "ramp_length", "segment_length", "n_steps", "batch_size"])),
)
def test_fitted(core: CoreConfig, agent: AgentConfig, n_envs: int, searched: set[str]) -> None:
    """Catches: a size moved to one that doesn't fit either, or one moved that the user has fixed."""
    config = TrainConfig(env=EnvConfig(n_envs=n_envs), core=core, agent=agent)
    result = fitted(config, searched)
    for name in SEARCHABLE:
        if name not in searched:
            assert setting(result, name) == setting(config, name)
    assert fitted(result, searched) == result
    length, steps = result.agent.segment_length, result.agent.n_steps
    if "dim" in searched:
        assert result.core.dim % (2 if core.heads % 2 else core.heads) == 0
        assert result.core.dim % core.heads == 0
    if searched & {"slots", "ramp_length"}:
        assert result.core.slots > result.core.ramp_length
    if length is not None and searched & {"segment_length", "n_steps"}:
        assert steps % length == 0
    if "batch_size" in searched and (length is None or steps % length == 0):
        length = length or max(divisor for divisor in range(1, 65) if steps % divisor == 0)
        assert result.agent.batch_size % length == 0
        assert length <= result.agent.batch_size <= steps * n_envs


# --- studies ---


@needs_optuna
def test_a_study_from_the_first_trial_to_the_preset(cli: Cli, tmp_path: Path) -> None:
    """Catches: runs that the other commands can't read, a disk that fills with them, a best preset that trains
    something else than the best trial did."""
    study = tmp_path / "study"
    search = ("--search", "learning_rate=1e-3:1e-1:log", "slots=4:12", "ramp_length=2:20", "batch_size=1:99")
    result = tuned(
        cli, study, *CORRIDOR, *search, "--pruner", "none", "--trials", 3, "--startup-trials", 2, "--keep-runs", 2
    )
    assert (result["complete"], result["failed"], result["objective"]) == (3, 0, "success_rate")
    assert [trial["value"] for trial in result["best"]] == sorted((v for _, v in by_number(result)), reverse=True)
    kept = [Path(trial["run"]) for trial in result["best"] if trial["run"]]
    assert kept == [Path(trial["run"] or "") for trial in result["best"][:2]]
    assert sorted((study / "trials").iterdir()) == sorted(kept)

    best, config = result["best"][0], preset_file.read(study / "best.json")
    assert {name: setting(config, name) for name in best["settings"]} == best["settings"]
    assert runs.read_config(kept[0]).agent == config.agent
    assert cli("evaluate", kept[0], "--episodes", 2).status == 0
    assert cli("curves", *kept, "--output", tmp_path / "curves.png").status == 0
    again = tmp_path / "again"
    preset = ("--preset", study / "best.json", "--run-dir", again, "--device", "cpu", "--progress", "none")
    assert cli("train", *preset).status == 0
    facts = ("timesteps", "training_success_rate", "live_memories")
    first, second = (json.loads((run / "summary.json").read_text()) for run in (kept[0], again))
    assert [first[fact] for fact in facts] == [second[fact] for fact in facts]


@needs_optuna
def test_interrupted_and_resumed_is_as_in_one_go(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a study that begins anew, that draws its first numbers again when it goes on, a trial lost or counted
    twice by Ctrl-C, chance that the seed doesn't rule."""
    flags = (*PRESSING, *RATES, "--startup-trials", 2, "--trials", 4)
    whole = tuned(cli, tmp_path / "whole", *flags)
    assert (whole["complete"] + whole["pruned"], whole["objective"]) == (4, "mean_return")
    study = tmp_path / "parts"
    monkeypatch.setattr(Pressing, "interrupt_at", Pressing.steps + 200)
    outcome = cli("tune", "--study", study, *flags)
    assert outcome.status == 130
    assert "stopped by SIGINT" in outcome.err
    assert f" tune --study {study} " in outcome.err.partition("To go on: ")[2]
    parts = tuned(cli, study, *flags)
    assert parts["interrupted"] == 1
    assert by_number(parts) == by_number(whole)
    assert parts["complete"] == whole["complete"]
    assert tuned(cli, study, *flags) == parts, "nothing is left to do"


@needs_optuna
def test_pruning(cli: Cli, tmp_path: Path) -> None:
    """Catches: intermediate success that is never reported, or never acted upon: trials that are worse all the time
    and go on to their end."""
    flags = (*PRESSING, *RATES, "--env-args", "fading=True", "--trials", 2, "--startup-trials", 1)
    for pruner, expected in (("median", (1, 1)), ("halving", (1, 1)), ("none", (2, 0))):
        result = tuned(cli, tmp_path / pruner, *flags, "--pruner", pruner)
        assert (result["complete"], result["pruned"]) == expected, pruner
        assert result["failed"] == 0


@needs_optuna
def test_failed_trials_do_not_end_the_study(cli: Cli, tmp_path: Path) -> None:
    """Catches: one wrong size that ends the search, or goes without a reason."""
    study, flags = tmp_path / "study", (*CORRIDOR, "--search", "heads=2,3", "--trials", 4)
    outcome = cli("tune", "--study", study, *flags)
    assert outcome.status == 0
    assert "(heads=3): failed: heads=3 must divide dim=16" in outcome.err
    assert "failed, such as trial" in outcome.out
    result = tuned(cli, study, *flags)
    assert {failure["reason"] for failure in result["failures"]} == {"heads=3 must divide dim=16"}
    assert {trial["settings"]["heads"] for trial in result["best"]} == {2}
    assert result["complete"] + result["failed"] == 4
    assert len(result["failures"]) == result["failed"]


@needs_optuna
def test_weights_that_are_no_numbers(cli: Cli, tmp_path: Path) -> None:
    """Catches: an agent of NaN that is judged, a preset of no trial, a status of 0 when all have failed."""
    flags = (*CORRIDOR, "--search", "learning_rate=1e30:1e31", "--trials", 1)
    result = tuned(cli, tmp_path / "study", *flags, status=1)
    assert (result["failed"], result["preset"], result["best"], result["importances"]) == (1, None, [], None)
    outcome = cli("tune", "--study", tmp_path / "study", *flags)
    assert outcome.status == 1
    assert "1 failed, such as trial 0: update 1 isn't finite" in outcome.out
    assert not list((tmp_path / "study" / "trials").iterdir())


@needs_optuna
def test_two_workers(cli: Cli, tmp_path: Path) -> None:
    """Catches: trials done twice or lost, a worker that doesn't find its packages, workers that draw the same numbers,
    a result in between the words of workers."""
    flags = (*CORRIDOR, "--search", "learning_rate=1e-4:1e-2:log", "--trials", 4, "--workers", 2)
    result = tuned(cli, tmp_path / "study", *flags)
    assert (result["complete"], result["failed"], result["running"], result["interrupted"]) == (4, 0, 0, 0)
    assert {trial["trial"] for trial in result["best"]} == {0, 1, 2, 3}
    assert len({trial["settings"]["learning_rate"] for trial in result["best"]}) == 4


ROOT = Path(__file__).parents[2]


def config_of(study: Path, *flags: object) -> TuneConfig:
    """The settings as the command has them."""
    config = parse(["tune", "--study", str(study), *map(str, flags)])
    assert isinstance(config, TuneConfig)
    return config


DIE = """
import os, signal, sys
from experiments.cli import parse
from experiments.tune.study import Study

for _ in range(2):
    worker = os.fork()
    if worker == 0:
        print(Study(parse(sys.argv[1:])).claim().config.agent.learning_rate, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(worker, 0)
"""
"""Two processes, one after the other, that are killed as soon as they have a trial."""


@needs_optuna
def test_killed_workers(cli: Cli, tmp_path: Path) -> None:
    """Catches: trials that run for ever since their process is dead, that are lost, that kill one process after the
    other, or that are taken from a process that lives."""
    from experiments.tune.study import Study, prepare

    study, flags = tmp_path / "study", (*PRESSING, *RATES, "--trials", 3)
    config = config_of(study, *flags)
    config = dataclasses.replace(config, search=tuple(map(str, parse_search(config.search, config.train))))
    prepare(config)
    alive = Study(config)
    mine = alive.claim()
    assert mine is not None

    words = ["tune", "--study", str(study), *map(str, flags)]
    dead = subprocess.run([sys.executable, "-c", DIE, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second = map(float, dead.stdout.split())
    assert first == second != mine.config.agent.learning_rate
    result = tuned(cli, study, *flags)
    assert (result["complete"], result["failed"], result["running"], result["interrupted"]) == (1, 1, 1, 1)
    assert "its process was killed" in result["failures"][0]["reason"]
    del alive, mine  # this process lets go of its trial, as if it had died
    result = tuned(cli, study, *flags)
    assert (result["complete"], result["failed"], result["running"], result["interrupted"]) == (2, 1, 0, 2)


@needs_optuna
def test_of_equals_the_one_that_learned_sooner(tmp_path: Path) -> None:
    """Catches: a preset of the slowest of all trials that solved the task; a trial without reports that can't be
    ranked."""
    from experiments.tune.study import Study, prepare
    from experiments.tune.trial import Ending

    config = config_of(tmp_path / "study", *PRESSING, *RATES)
    prepare(config)
    study = Study(config)
    for value, reports in ((1.0, [0.2, 0.9]), (1.0, [0.8, 0.9]), (0.9, [1.0, 1.0]), (1.0, [])):
        claim = study.claim()
        assert claim is not None
        for number, report in enumerate(reports, start=1):
            claim.trial.report(report, number)
        study.finish(claim.trial, Ending("complete", value, "success_rate"))
    assert [trial.number for trial in study.ranked()] == [1, 0, 3, 2]
    best = study.ranked()[0].user_attrs["settings"]["learning_rate"]
    assert preset_file.read(tmp_path / "study" / "best.json").agent.learning_rate == best


@needs_optuna
def test_a_worker_ends_with_its_parent(cli: Cli, tmp_path: Path) -> None:
    """Catches: workers that go on for hours when the command that started them is gone, or that lose their trial."""
    from experiments.tune.study import CLAIMS, prepare
    from experiments.tune.worker import job

    study, flags = tmp_path / "study", (*CORRIDOR, "--total-timesteps", 10**8, "--search", "depth=1,2", "--trials", 1)
    config = config_of(study, *flags)
    prepare(config)
    line = [sys.executable, "-m", "experiments.tune.worker"]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stderr is not None
        worker.stdin.write(job(config, "expire-span tune"))
        worker.stdin.flush()
        while not (study / CLAIMS / "trial-0000").exists():
            assert worker.poll() is None, worker.stderr.read()
        worker.stdin.close()
        said = worker.stderr.read()
        assert worker.wait(60) == 0, said
    assert "trial 0 (depth=" in said
    assert "interrupted after" in said


# --- what lies in the folder ---


@needs_optuna
def test_other_settings_or_another_folder(cli: Cli, tmp_path: Path) -> None:
    """Catches: trials that can't be compared in one study, somebody's files among which a study is begun."""
    study, flags = tmp_path / "study", (*PRESSING, *RATES, "--trials", 1)
    tuned(cli, study, *flags)
    before = sorted(study.rglob("*"))
    for changed in (("--seed", 1), ("--slots", 7), ("--episodes", 5), ("--total-timesteps", 9)):
        said = f"{changed[0]} can't change in a study"
        check(cli("tune", "--study", study, *flags, *changed), said, "study.json")
    check(cli("tune", "--study", study, *PRESSING, "--search", "dim=8,16"), "--search can't change in a study")
    assert sorted(study.rglob("*")) == before
    check(cli("tune", "--study", tmp_path, *flags), "isn't empty and no study of ours")
    (tmp_path / "file").write_text("")
    check(cli("tune", "--study", tmp_path / "file", *flags), "is a file")
    check(cli("tune", "--study", tmp_path / "file" / "study", *flags), "file/study")
    (study / "study.json").write_text('{"format_version": 99}')
    check(cli("tune", "--study", study, *flags), "format 99", "take a new --study")
    (study / "study.json").write_text("{")
    check(cli("tune", "--study", study, *flags), "can't be read", "take a new --study")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--run-dir", "x"), "--run-dir is train's"),
        (("--resume", "x"), "--resume is train's"),
        (("--trials", "0"), "--trials 0: must be at least 1"),
        (("--workers", "0"), "--workers 0: must be between 1 and 1024"),
        (("--workers", "99999999999999999999"), "--workers 99999999999999999999: must be between 1 and 1024"),
        (("--trials", "99999999999999999999"), "--trials 99999999999999999999: must be between 1 and 10"),
        (("--episodes", "0"), "--episodes 0"),
        (("--search", "dim=8,16", "--search", "slots=4,8"), "--search counts once"),
        (("--policy-args", "no_such=1"), "no_such"),
        (("--env", "CartPole-v1", "--env-args", "max_episode_steps=9"), "--vec-env batched"),
        (("--env", faulty.ID, "--env-args", "fault=make", "mended=none"), "can't be made: KeyError: 'no such level'"),
        (("--heads", "0"), "heads"),
        (("--gamma", "2"), "--gamma 2.0: must be between"),
    ],
)
@needs_optuna
def test_wrong_flags(cli: Cli, tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    """Catches: fifty trials that all fail for one mistake, a flag of train that does nothing here."""
    check(cli("tune", "--study", tmp_path / "study", *CORRIDOR, *flags), said)
    assert not list(tmp_path.iterdir())


def test_without_optuna(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a traceback for a missing extra."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None if name == "optuna" else find_spec(name))
    check(cli("tune", "--study", tmp_path / "study"), "needs optuna", "pip install 'expire-span[tune]'")


def test_help(cli: Cli) -> None:
    """Catches: a help text that can't be made, since one of the settings is a whole training's."""
    outcome = cli("tune", "--help")
    assert outcome.status == 0
    assert "--study" in outcome.out
    assert "--slots" in outcome.out


@needs_optuna
def test_the_journal_survives_half_a_line(tmp_path: Path) -> None:
    """Catches: a study that nobody can read any more since a process was killed, or the disk was full, in mid-write."""
    from experiments.tune.journal import Journal

    path = tmp_path / "journal"
    entries = [{"number": number, "text": "x" * 3000 * number} for number in range(3)]
    for cut in (1, 10, 5000):
        path.unlink(missing_ok=True)
        journal = Journal(path)
        journal.append_logs(entries)
        path.write_bytes(path.read_bytes()[:-cut])
        assert list(journal.read_logs(0)) == entries[:2]
        other = Journal(path)
        other.append_logs([{"after": cut}])
        assert list(journal.read_logs(2)) == [{"after": cut}]
        assert list(other.read_logs(1)) == [entries[1], {"after": cut}]


@needs_optuna
def test_a_damaged_journal(cli: Cli, tmp_path: Path) -> None:
    """Catches: a traceback out of Optuna, or code that is run since the journal says so."""
    study, flags = tmp_path / "study", (*PRESSING, *RATES, "--trials", 1)
    tuned(cli, study, *flags)
    journal = study / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for damaged in (b"\x80\x04.\n", b"{}\n", b'{"op_code":4}\n', b"3\n"):
        journal.write_bytes(b"".join([*lines[:5], damaged, *lines[5:]]))
        check(cli("tune", "--study", study, *flags), "journal.jsonl is damaged", "take a new --study")


# --- preset files ---


@given(
    config=st.builds(
        TrainConfig,
        env=st.builds(EnvConfig, env_args=st.sampled_from([(), ("max_length=9",)]), n_envs=st.integers(1, 9)),
        core=st.builds(CoreConfig, slots=st.integers(0, 99), max_span=st.floats(1, 1e9)),
        agent=st.builds(AgentConfig, net_arch=st.none() | st.tuples(st.integers(1, 9)), learning_rate=st.floats(0, 1)),
        seed=st.integers(0, 99),
        stop_at_success=st.none() | st.floats(0, 1),
    )
)
def test_preset_files_read_back(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Catches: a setting that a file loses or rounds."""
    path = tmp_path_factory.getbasetemp() / "preset.json"
    path.write_text(json.dumps(preset_file.content(config, "a title")))
    assert preset_file.read(path) == config


WRONG_PRESETS = [
    ({"core": {"slotz": 3}}, "core has no setting 'slotz': did you mean slots?"),
    ({"core": {"slots": "3"}}, "core slots '3': must be a whole number"),
    ({"core": {"slots": True}}, "must be a whole number"),
    ({"core": {"memory": "rnn"}}, "must be one of expire-span, transformer-xl, lstm, gru, none"),
    ({"agent": {"net_arch": [8, "x"]}}, "must be a list, each a whole number or None"),
    ({"agent": {"gamma": 7}}, "--gamma 7: must be between"),
    ({"agent": []}, "agent must be an object"),
    ({"run_dir": "x"}, "config has no setting 'run_dir'"),
    ([], "isn't a preset"),
]


@pytest.mark.parametrize(("config", "said"), WRONG_PRESETS, ids=[said for _, said in WRONG_PRESETS])
def test_wrong_preset_files(cli: Cli, tmp_path: Path, config: Any, said: str) -> None:
    """Catches: a misspelt setting that is left out without a word, a wrong type that ends in a traceback."""
    path = tmp_path / "preset.json"
    path.write_text(json.dumps({"format_version": 1, "config": config}))
    check(cli("train", "--preset", path, "--run-dir", tmp_path / "run"), said)
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_preset(cli: Cli, tmp_path: Path) -> None:
    """Catches: a traceback for a path that is wrong, or a file that something else wrote."""
    check(cli("train", "--preset", tmp_path / "none.json"), "there is no such file")
    check(cli("train", "--preset", tmp_path), "is a folder", "best.json")
    path = tmp_path / "preset.json"
    for content, said in (
        ("{", "isn't JSON"),
        ("[" * 100_000, "isn't JSON"),
        ('{"config": {}}', "isn't a preset"),
        ('{"format_version": 2, "config": {}}', "is of format 2, this version reads 1"),
    ):
        path.write_text(content)
        check(cli("train", "--preset", path), said)


def test_a_preset_file_is_overridden_by_flags(tmp_path: Path) -> None:
    """Catches: a file that wins over a flag, that tune doesn't take, or whose whole path ends up in a run's name."""
    path = tmp_path / "mine.json"
    content = {"env": {"n_envs": 3, "env_args": ["a=1"]}, "core": {"slots": 9}}
    path.write_text(json.dumps({"format_version": 1, "config": content}))
    for words in (["train"], ["tune", "--study", "x"]):
        parsed = parse([*words, "--preset", str(path), "--slots", "33", "--env-args", "b=2"])
        config = parsed.train if isinstance(parsed, TuneConfig) else parsed
        assert isinstance(config, TrainConfig)
        assert (config.core.slots, config.env.n_envs, config.env.env_args) == (33, 3, ("a=1", "b=2"))
        assert config.preset == "mine"
