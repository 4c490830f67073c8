"""Whatever ends a training tells so in one line, which docs/faults.md has, and what was learned is kept."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from agents import checkpoint
from experiments import growth, learning, runs
from experiments.cli import main
from experiments.environments import TRAINING_SEEDS
from tests.experiments.conftest import Cli
from tests.experiments.faulty import ID, flags, mend
from tests.experiments.killed import FLAGS, STEPS, learned
from tests.trees import equal

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
WORKERS = ("--vec-env", "subprocess", "--n-workers", "2")


def assert_told(errors: str, folder: Path) -> None:
    """One line, and the page has it."""
    told = errors.strip().replace(str(folder / "run"), "runs/x").replace(str(folder), "runs")
    assert "\n" not in told, errors
    told, page = (re.sub(r"\(\S*faulty\.py, line \d+\)", "(…/faulty.py)", text) for text in (told, PAGE.read_text()))
    assert told in page, told


def assert_goes_on(cli: Cli, folder: Path) -> None:
    """The newest checkpoint loads, and the run ends well once what was wrong isn't any more."""
    mend(folder)
    outcome = cli("train", "--resume", folder / "run")
    assert outcome.status == 0, outcome.err
    assert runs.load(folder / "run", "cpu").model.num_timesteps >= 320
    assert not (folder / "run" / runs.ERROR).exists(), "it isn't what ended this"


def test_every_row_has_its_tests() -> None:
    """Would catch: a row of the page that nothing shows, after a test was renamed."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())
    _, _, tables = PAGE.read_text().partition("| Fault |")
    rows = [line for line in tables.splitlines()[1:] if line.startswith("| ") and not line.startswith("| Fault ")]
    assert len(rows) > 15
    assert [row for row in rows if "::test_" not in row] == []
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


@pytest.mark.parametrize(
    ("fault", "more", "kept"),
    [
        ("raise", (), 156),
        ("raise", WORKERS, 156),
        ("exit", (), 156),
        ("exit", WORKERS, 156),
        ("rewards", (), 156),
        ("rewards", WORKERS, 156),
        ("no reward", (), 156),
        ("hang", (*WORKERS, "--env-timeout", "1"), 156),
        ("die", WORKERS, 156),
        ("nan reward", (), 156),
        ("inf observation", (), 156),
        ("nan at the end", (), 156),
        ("huge rewards", (), 128),
    ],
)
def test_an_environment_that_fails(cli: Cli, tmp_path: Path, fault: str, more: tuple[str, ...], kept: int) -> None:
    """Would catch: a traceback for the user or none in the run folder, an environment that isn't named, a status of
    0, waiting for ever, updates that are lost, a checkpoint that doesn't load, an end without a word."""
    outcome = cli("train", *flags(tmp_path, fault), *more)
    assert outcome.status == 1, outcome.err
    assert_told(outcome.err, tmp_path)
    assert "Traceback" in (tmp_path / "run" / runs.ERROR).read_text()
    series = checkpoint.CheckpointSeries(tmp_path / "run" / runs.CHECKPOINTS)
    assert series.newest().step == kept, "every update before the fault is in it"
    assert_goes_on(cli, tmp_path)


def test_an_environment_that_cannot_be_made(cli: Cli, tmp_path: Path) -> None:
    """Would catch: a traceback, or a message without the place, where an environment's own constructor fails."""
    outcome = cli("train", *flags(tmp_path, "make"))
    assert outcome.status == 2
    assert_told(outcome.err, tmp_path)
    assert not (tmp_path / "run").exists()


def test_no_command_can_make_it(cli: Cli, tmp_path: Path) -> None:
    """Would catch: the same told in one line by a training, and by a traceback everywhere else."""
    run = tmp_path / "run"
    args = ("--env-args", "fault=make", f"mended={tmp_path / 'mended'}")
    (tmp_path / "mended").touch()
    assert cli("train", *flags(tmp_path, "make"), "--total-timesteps", 64).status == 0
    (tmp_path / "mended").unlink()
    for words in (
        ("evaluate", run),
        ("record", run),
        ("bench", "--env", ID, *args, "--device", "cpu"),
    ):
        outcome = cli(*words)
        assert outcome.status == 2, words
        assert len(outcome.err.splitlines()) == 1, outcome.err
        assert f"{ID} can't be made: KeyError: 'no such level' (" in outcome.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an agent whose environments didn't fail; tests only read it."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["train", *flags(folder, "none")]) == 0
    return folder / "run"


@pytest.mark.parametrize("fault", ["raise", "exit", "rewards", "nan reward", "inf observation"])
def test_an_environment_that_fails_an_agent_that_acts(cli: Cli, whole: Path, tmp_path: Path, fault: str) -> None:
    """Would catch: a traceback, NaN as an evaluation's result, an end without a word, an environment that isn't named,
    a status of 0, a video of half an episode."""
    fails = ("--env-args", f"fault={fault}", "mended=never", "step=2")
    outcome = cli("evaluate", whole, "--episodes", 4, "--json", *fails, f"faulty={TRAINING_SEEDS + 2}")
    assert (outcome.status, outcome.out) == (1, "")
    assert_told(outcome.err, tmp_path)
    video = tmp_path / "video.gif"
    outcome = cli("record", whole, "--episodes", 1, "--output", video, *fails, f"faulty={TRAINING_SEEDS}")
    assert (outcome.status, outcome.out) == (1, "")
    assert_told(outcome.err.replace("environment 0", "environment 2").replace("episode 1", "the evaluation"), tmp_path)
    assert not video.exists()


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("no display", 1, r"environment 0: RuntimeError: no display \(\S*faulty\.py, line \d+\)"),
        ("four channels", 2, r"shape \(96, 128, 4\), uint8; needed \(height, width, 3\) of uint8"),
        ("floats", 2, r"shape \(96, 128, 3\), float64; needed \(height, width, 3\) of uint8"),
    ],
)
def test_pictures_that_are_none(cli: Cli, whole: Path, tmp_path: Path, fault: str, status: int, said: str) -> None:
    """Would catch: a traceback, a black film of pixels between 0 and 1, a message that leaves open what is wrong."""
    video = tmp_path / "video.gif"
    outcome = cli("record", whole, "--episodes", 1, "--output", video, "--env-args", f"fault={fault}")
    assert outcome.status == status
    assert re.search(rf"^expire-span: error: .*{said}$", outcome.err, re.MULTILINE), outcome.err
    assert "Traceback" not in outcome.err
    assert not video.exists()


def test_a_result_outlives_environments_that_fail_to_close(cli: Cli, whole: Path) -> None:
    """Would catch: all episodes played, and their result lost in a traceback."""
    outcome = cli("evaluate", whole, "--episodes", 2, "--n-envs", 1, "--json", "--env-args", "fault=close")
    assert outcome.status == 0
    assert json.loads(outcome.out)["episodes"] == 2
    assert "Traceback" not in outcome.err


def in_a_process(folder: Path, fault: str, *more: str, before: str = "") -> tuple[list[str], str]:
    """A training that fails and is gone on with, in one process; exit statuses and standard error."""
    command = [sys.executable, "-m", "tests.experiments.faulty", str(folder), fault, *more]
    if before:
        command = ["unshare", "--mount", "sh", "-c", f'{before} && exec "$@"', "sh", *command]
    # Every block of more than 1 MB is then asked of the system, and given back to it, by itself.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=250, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split(), done.stderr


def without_notes(errors: str) -> str:
    return "\n".join(line for line in errors.splitlines() if " note: " not in line)


def test_a_full_disk(tmp_path: Path) -> None:
    """Would catch: a disk full in the midst of a training, where writing the traceback fails too and hides what
    happened, TensorBoard's thread prints one, or the checkpoints are lost."""
    mount = f"mount -t tmpfs -o size=3m tmpfs {tmp_path}"
    allowed = (
        shutil.which("unshare") is not None
        and not subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True).returncode
    )
    fault, before = ("full disk", mount) if allowed else ("full disk, by a limit", "")
    statuses, errors = in_a_process(tmp_path, fault, before=before)
    assert statuses == ["1", "0"], errors
    assert_told(without_notes(errors).replace("File too large", "No space left on device"), tmp_path)


def test_a_folder_that_is_taken_away(cli: Cli, tmp_path: Path) -> None:
    """Would catch: a traceback of TensorBoard's thread, or a path in bytes, where the run folder can't be written any
    more."""
    outcome = cli("train", *flags(tmp_path, "no folder"))
    assert outcome.status == 1
    assert_told(outcome.err, tmp_path)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory as Linux does")
def test_too_little_memory(tmp_path: Path) -> None:
    """Would catch: PyTorch's inner words, or a run that can't go on, where an update needs more than there is."""
    sizes = ("--n-envs", "16", "--n-steps", "20", "--batch-size", "320", "--slots", "1500", "--depth", "1")
    statuses, errors = in_a_process(tmp_path, "little memory", *sizes, "--total-timesteps", "640")
    assert statuses == ["1", "0"], errors
    assert_told(re.sub(r"\d+ bytes", "36480000 bytes", without_notes(errors)), tmp_path)


def test_sizes_that_no_memory_has(cli: Cli, tmp_path: Path) -> None:
    """Would catch: PyTorch's inner words where a model can't even be made."""
    outcome = cli("train", *flags(tmp_path, "none"), "--slots", 10**12)
    assert outcome.status == 2
    assert "the memory of cpu is too small for these sizes" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(cli: Cli, tmp_path: Path, number: signal.Signals) -> None:
    """Would catch: a training that hangs and can't be stopped, or what was saved before lost by it."""
    command = [sys.executable, "-m", "experiments", "train", *flags(tmp_path, "hang")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    deadline = time.monotonic() + 250
    try:
        while not (tmp_path / "hangs").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        assert_told(process.stderr.readline(), tmp_path)
        process.send_signal(number)
        _, errors = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert errors == ("expire-span: interrupted\n" if number == signal.SIGINT else "")
    assert_goes_on(cli, tmp_path)


def test_logs_are_bounded(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: a line a rollout however many there are, which fills a disk in a training of weeks; no line."""
    monkeypatch.setattr(learning, "MOST_LINES", 3)
    assert cli("train", *flags(tmp_path, "none"), "--total-timesteps", 64 * 8).status == 0
    assert (tmp_path / "run" / "progress.csv").read_text().count("\n") == 1 + 2, "of 8 rollouts every third"


@pytest.mark.slow
def test_memory_stays_as_it_is(tmp_path: Path) -> None:
    """Would catch: a list that grows with every episode or rollout, graphs of gradients that are kept."""
    looks = growth.watched(tmp_path / "run", 200_000)
    print(growth.report(tmp_path / "run", looks, 50_000))
    warm = next(look.megabytes for look in looks if look.timesteps >= 50_000)
    assert looks[-1].megabytes < warm + 20


def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: anything but a display that hangs on the time of day, which a computer may put back or forward."""
    for name in ("steady", "jumping"):
        command = ["train", *FLAGS, "--run-dir", str(tmp_path / name), "--total-timesteps", str(4 * STEPS)]
        with monkeypatch.context() as patch:
            if name == "jumping":
                now, jumps = time.time(), count()

                def jumping() -> float:
                    return now + 10**6 * (-1) ** next(jumps)  # noqa: B023  # called before the loop goes on

                patch.setattr(time, "time", jumping)
                patch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
            assert main(command) == 0
    assert equal(learned(tmp_path / "steady"), learned(tmp_path / "jumping"))
    steps = [checkpoint.CheckpointSeries(tmp_path / name / runs.CHECKPOINTS).steps() for name in ("steady", "jumping")]
    assert steps[0] == steps[1]
    assert len(steps[0]) > 1
