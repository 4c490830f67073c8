"""What the user gets wrong: one line, exit status 2, nothing written."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from experiments import runs
from experiments.errors import one_line, print_warning
from tests.experiments.conftest import S7, TINY, Cli, Outcome


def check(outcome: Outcome, *said: str) -> None:
    """One line on standard error that says this, and nothing else anywhere."""
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("expire-span: error: ")
    for words in said:
        assert words in outcome.err


BEYOND = "99999999999999999999"
"""What 64 bits don't hold."""

TRAINING = [
    (("--env", "MiniGrid-MemoryS14-v0"), ("MiniGrid-MemoryS14-v0", "did you mean", "MiniGrid-MemoryS13-v0")),
    (("--env", "no_such_module:Env-v0"), ("no_such_module", "looked for in the working directory, /")),
    (("--env", "no_such_module.py:Env-v0"), ("leave out .py: no_such_module:Env-v0",)),
    (("--preset", "memory-s8"), ("unknown preset 'memory-s8'", "did you mean memory-s9")),
    (("--preset", "demo", "--resume", "x"), ("exclude each other",)),
    ((*S7, "view=3"), ("no argument 'view'",)),
    ((*S7, "agent_view_size=4"), ("odd",)),
    ((*S7, "agent_view_size"), ("isn't NAME=VALUE", "--env-args agent_view_size=3")),
    (("--env", "Blackjack-v1"), ("Blackjack-v1 has Tuple observations", "supported are Box")),
    (("--env", "ExpireSpanTest/TupleActions-v0"), ("Tuple actions", "supported are Box")),
    (("--device", "tpu"), ("'tpu' isn't a device", "cuda")),
    (("--device", "meta"), ("'meta' isn't supported",)),
    (("--device", "cuda:77"), ("--device 'cuda:77'", "CUDA")),
    (("--segment-length", "7"), ("segment_length=7", "n_steps=16", "[1, 2, 4, 8, 16]")),
    (("--slots", "-1"), ("slots",)),
    (("--dim", "15"), ("dim",)),
    (("--dim", "16", "--heads", "3"), ("heads",)),
    (("--ramp-length", "0"), ("--ramp-length 0.0: must be above 0",)),
    (("--max-span", "0"), ("--max-span 0.0: must be above 0",)),
    (("--max-span", "-5"), ("--max-span -5.0: must be above 0",)),
    (("--initial-span", "1.5"), ("initial_span",)),
    (("--batch-size", "0"), ("--batch-size 0", "at least 1")),
    (("--n-envs", "0"), ("--n-envs 0", "at least 1")),
    (("--total-timesteps", "0"), ("--total-timesteps 0", "at least 1")),
    (("--seed", "-1"), ("--seed -1", "between")),
    (("--gamma", "1.5"), ("--gamma 1.5", "between 0.0 and 1.0")),
    (("--learning-rate", "0"), ("--learning-rate", "above 0")),
    (("--policy-args", "no_such_argument=1"), ("no_such_argument",)),
    (("--policy-args", "ramp_length=4"), ("--policy-args ramp_length=4: give it as --ramp-length",)),
    (("--policy-args", "activation_fn=ReLU"), ("activation_fn=ReLU: give it as --activation-fn",)),
    (("--net-arch", "4", "--policy-args", "net_arch=[8]"), ("--policy-args net_arch=[8]: give it as --net-arch",)),
    (("--policy-args", 'net_arch={{"pi":[64]}}'), ('--policy-args net_arch={{"pi":[64]}}: must be a list of whole',)),
    (("--policy-args", "net_arch=64"), ("--policy-args net_arch=64: must be a list of whole numbers from 1",)),
    (("--policy-args", 'net_arch={"vf":[0]}'), ("must be a list of whole numbers from 1, or an object of such lists",)),
    (("--policy-args", 'net_arch={"actor":[8]}'), ('as in net_arch={"pi": [64], "vf": [64]}',)),
    (
        ("--pooled", "--policy-args", 'features_extractor_kwargs={"pooled": False}'),
        ("""--policy-args features_extractor_kwargs={"pooled": False}: give pooled as --pooled or --no-pooled""",),
    ),
    (("--policy-args", "features_extractor_kwargs=7"), ("must be an object, such as features_extractor_kwargs={",)),
    (("--policy-args", "core=gru"), ("--policy-args core=gru: give it as --memory",)),
    (("--policy-args", "optimizer_class=SGD"), ("optimizer_class=SGD: takes a class", "in Python alone")),
    (("--env", "CartPole-v1", "--policy", "CnnPolicy"), ("CNN",)),
    (("--env", "CartPole-v1", "--extractor", "minigrid"), ("MiniGrid's codes",)),
    (("--dim", BEYOND), (f"error: dim={BEYOND} must be at most 1000000000000",)),
    (("--slots", BEYOND), (f"error: slots={BEYOND} must be at most",)),
    (("--seq-len", BEYOND), (f"error: seq_len={BEYOND} must be at most",)),
    (("--depth", BEYOND), (f"error: depth={BEYOND} must be at most",)),
    (("--net-arch", BEYOND), (f"error: net_arch={BEYOND} must be at most",)),
    (("--memory", "lstm", "--dim", BEYOND), (f"error: dim={BEYOND} must be at most",)),
    (("--batch-size", BEYOND), (f"--batch-size {BEYOND}: must be between 1 and 1000000000000",)),
    (("--env", "CartPole-v1", "--memory", "lstm", "--dim", "10000000000"), ("memory of cpu is too small",)),
]


class TupleActions(gym.Env[Any, Any]):
    """An environment whose actions no policy can choose."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Discrete(2)))


gym.register("ExpireSpanTest/TupleActions-v0", entry_point=lambda **_: TupleActions())


@pytest.mark.parametrize(("flags", "said"), TRAINING, ids=[" ".join(flags) for flags, _ in TRAINING])
def test_train(tmp_path: Path, cli: Cli, flags: tuple[str, ...], said: tuple[str, ...]) -> None:
    """A traceback, a folder with half a run in it, or a message that doesn't say what would be right."""
    if flags == ("--device", "cuda:77") and torch.cuda.device_count() > 77:
        pytest.skip("there are that many")
    # Were the mistake not noticed, the training at least would end soon.
    few = () if "--total-timesteps" in flags or "--resume" in flags else ("--total-timesteps", 64)
    base = () if "--env" in flags or "--preset" in flags else S7
    check(cli("train", *base, *TINY, *few, *flags, "--run-dir", tmp_path / "deep" / "run"), *said)
    assert not list(tmp_path.iterdir())


def test_flag_that_is_none(tmp_path: Path, cli: Cli) -> None:
    """A misspelt flag that is ignored."""
    outcome = cli("train", "--slot", 3, "--run-dir", tmp_path / "run")
    assert outcome.status == 2
    assert "--slot" in outcome.err
    assert not list(tmp_path.iterdir())


def test_run_dir(trained: Path, tmp_path: Path, cli: Cli) -> None:
    """A run that is written over another one, or among somebody's files."""
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    check(cli("train", *S7, *TINY, "--run-dir", trained), "holds a run already", "--overwrite", "--resume")
    assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    (tmp_path / "file").write_text("")
    for overwrite in ((), ("--overwrite",)):
        check(cli("train", *S7, *TINY, "--run-dir", tmp_path, *overwrite), "isn't empty")
    check(cli("train", *S7, *TINY, "--run-dir", tmp_path / "file"), "is a file")
    check(cli("train", *S7, *TINY, "--run-dir", tmp_path / "file" / "run"), "is a file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_overwrite_keeps_the_run_when_the_settings_are_wrong(run_copy: Path, cli: Cli) -> None:
    """The old run deleted before it is known that a new one can begin."""
    check(cli("train", *S7, *TINY, "--slots", -1, "--run-dir", run_copy, "--overwrite"), "slots")
    assert runs.load(run_copy, "cpu").model.num_timesteps == 256


def test_continue(trained: Path, tmp_path: Path, cli: Cli) -> None:
    """Going on with settings that the saved model doesn't have, silently."""
    go_on = ("train", "--resume", trained)
    check(cli(*go_on, "--total-timesteps", 400, "--slots", 7), "--slots can't change")
    check(cli(*go_on, "--total-timesteps", 400, "--env", "CartPole-v1"), "--env can't change")
    check(cli(*go_on, "--total-timesteps", 256), "has done 256 steps already")
    check(cli(*go_on, "--total-timesteps", 400, "--run-dir", tmp_path), "leave out --run-dir")
    check(cli("train", "--resume", tmp_path / "none"), "isn't a folder")
    check(cli("train", "--resume", tmp_path), "isn't a run folder")


@pytest.mark.parametrize("command", ["evaluate", "record"])
def test_folders_that_are_no_run(run_copy: Path, tmp_path: Path, cli: Cli, command: str) -> None:
    """A KeyError from somewhere inside, where the folder, its version or a broken file is the trouble."""
    check(cli(command, tmp_path / "none"), "isn't a folder")
    (tmp_path / "empty").mkdir()
    check(cli(command, tmp_path / "empty"), "isn't a run folder", "config.json")
    config = run_copy / "config.json"
    record = json.loads(config.read_text())
    config.write_text(json.dumps(record | {"format_version": 99}))
    check(
        cli(command, run_copy),
        "format 99",
        f"reads format {runs.FORMAT_VERSION}",
        "expire-span 0",
    )
    config.write_text(json.dumps({name: value for name, value in record.items() if name != "format_version"}))
    check(cli(command, run_copy), "no format_version")
    config.write_text(json.dumps(record | {"config": record["config"] | {"no_such_setting": 1}}))
    check(cli(command, run_copy), "no_such_setting")
    core = record["config"]["core"] | {"memory": "rnn"}
    config.write_text(json.dumps(record | {"config": record["config"] | {"core": core}}))
    check(cli(command, run_copy), "core memory 'rnn': must be one of expire-span, transformer-xl", "or train anew")
    config.write_text("{")
    check(cli(command, run_copy), "isn't JSON")
    config.write_text(json.dumps(record))
    check(cli(command, run_copy, "--device", "cuda:77"), "cuda:77")
    model = run_copy / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    outcome = cli(command, run_copy)
    check(outcome, f"{model} can't be read: ")
    assert outcome.err.count(str(model)) == 1
    model.unlink()
    check(cli(command, run_copy), "has no model.safetensors")
    assert not (run_copy / "video.mp4").exists()


def test_evaluate_numbers(trained: Path, cli: Cli) -> None:
    """Seeds that reach into training's; no episodes at all."""
    check(cli("evaluate", trained, "--episodes", 0), "--episodes 0")
    check(cli("evaluate", trained, "--seed", -1), "--seed -1", "between 0 and 999")
    check(cli("evaluate", trained, "--n-envs", 0), "--n-envs 0")
    check(cli("evaluate", trained, "--torch-threads", 0), "--torch-threads 0")
    check(cli("evaluate", trained, "--torch-threads", BEYOND), f"--torch-threads {BEYOND}: must be between 1 and 1024")


def test_record_output(trained: Path, tmp_path: Path, cli: Cli) -> None:
    """Minutes of recording before it turns out that the video can't be written."""
    check(cli("record", trained, "--output", tmp_path / "video.avi"), ".mp4, .gif or .png")
    check(cli("record", trained, "--output", tmp_path / "none" / "video.mp4"), "there is no folder")
    (tmp_path / "folder.mp4").mkdir()
    check(cli("record", trained, "--output", tmp_path / "folder.mp4"), "is a folder")
    check(cli("record", trained, "--fps", 0), "--fps 0")
    check(cli("record", trained, "--max-steps", 0), "--max-steps 0: must be at least 1")
    check(cli("record", trained, "--torch-threads", BEYOND), f"--torch-threads {BEYOND}: must be between 1 and 1024")
    check(cli("record", trained, "--env-args", "agent_view_size=5"), "was trained on observations")
    check(cli("record", trained, "--env-args", "no_such=5"), "no argument 'no_such'")


class Blind(gym.Env[Any, Any]):
    """An environment that doesn't render."""

    observation_space = gym.spaces.Box(0, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Any, dict[str, object]]:
        super().reset(seed=seed)
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, object]]:
        return np.zeros(2, dtype=np.float32), 0.0, True, False, {}


gym.register("ExpireSpanTest/Blind-v0", entry_point=lambda **_: Blind())


def test_environment_that_does_not_render(tmp_path: Path, cli: Cli) -> None:
    """A traceback out of the video writer."""
    run = tmp_path / "run"
    assert (
        cli("train", "--env", "ExpireSpanTest/Blind-v0", *TINY, "--total-timesteps", 64, "--run-dir", run).status == 0
    )
    check(cli("record", run), "can't be recorded")
    assert not (run / "video.mp4").exists()


def test_what_is_no_text_is_told_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Would catch: Gymnasium's colours in a log file, or an error number and a path in bytes in a sentence."""
    print_warning("\x1b[33mWARN: a \x1b[1mdoor\x1b[0m", UserWarning, "", 0)
    assert capsys.readouterr().err == "expire-span: warning: WARN: a door\n"
    assert one_line(PermissionError(13, "Permission denied", b"ro/events")) == "Permission denied: ro/events"
    assert one_line(OSError("no room")) == "no room"
