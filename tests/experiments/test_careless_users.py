"""What a careless user, or a careless environment, does."""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from experiments import video
from experiments.cli import parse
from experiments.config import TrainConfig, TuneConfig
from experiments.environments import check_spaces
from experiments.errors import UserError
from tests.experiments.conftest import TINY, Cli

BOX = spaces.Box(-1, 1, (2,), np.float32)


class TalkingEnv(gym.Env[Any, Any]):
    """An environment that prints to standard output, as many do."""

    observation_space, action_space = BOX, spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        sys.stdout.write("hello from the environment\n")
        os.write(1, b"hello from a library\n")
        ctypes.CDLL(None).printf(b"hello from one that keeps its words until it ends\n")
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 1.0, bool(self.np_random.random() < 0.3), False, {}


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (BOX, spaces.Discrete(2, start=1), "Some-v0: actions are .* count them from 0"),
        (BOX, spaces.MultiDiscrete(np.full((2, 2), 2)), "actions are a MultiDiscrete of shape"),
        (BOX, spaces.MultiDiscrete([2, 2], start=[0, 1]), "actions are .* count them from 0"),
        (BOX, spaces.MultiBinary([2, 2]), "MultiBinary actions of shape"),
        (spaces.Box(-1, 1, (), np.float32), spaces.Discrete(2), "observations are numbers without a dimension"),
        (spaces.Discrete(3, start=2), spaces.Discrete(2), "observations are .* count them from 0"),
        (spaces.MultiDiscrete(np.full((2, 2), 2)), spaces.Discrete(2), "observations are a MultiDiscrete of shape"),
    ],
)
def test_spaces_that_would_fail_later(observations: Any, actions: Any, message: str) -> None:
    """Would catch: a traceback after the run folder was made, or actions off by the space's start, without a word."""
    with pytest.raises(UserError, match=message):
        check_spaces("Some-v0", observations, actions)


def test_json_stays_pure_when_the_environment_prints(cli: Cli, tmp_path: Path) -> None:
    """Would catch: an environment's words in front of the JSON object or behind it, those of a library too."""
    gym.register("TalkingEnv-v0", lambda **_: TalkingEnv())
    folder = tmp_path / "run"
    assert cli("train", "--env", "TalkingEnv-v0", *TINY, "--total-timesteps", 64, "--run-dir", folder).status == 0
    outcome = cli("evaluate", folder, "--episodes", 3, "--json")
    assert json.loads(outcome.out)["episodes"] == 3
    assert {"environment", "library", "ends"} <= set(outcome.err.split())


def test_a_presets_arguments_belong_to_its_environment() -> None:
    """Would catch: arguments of the preset's environment given to another one, that the user never typed."""
    other = parse(["train", "--preset", "corridor", "--env", "MiniGrid-MemoryS13-v0"])
    assert isinstance(other, TrainConfig)
    assert other.env.env_args == ()
    given = parse(["train", "--preset", "corridor", "--env", "MiniGrid-MemoryS9-v0", "--env-args", "agent_view_size=3"])
    assert isinstance(given, TrainConfig)
    assert given.env.env_args == ("agent_view_size=3",)


@pytest.mark.parametrize("command", [("train",), ("tune", "--study", "x")])
@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--env-args", "agent_view_size=3"), ("agent_view_size=3",)),
        (("--env-args=agent_view_size=3",), ("agent_view_size=3",)),
        (("--env_args", "agent_view_size=3"), ("agent_view_size=3",)),
        (("--env_args=agent_view_size=3",), ("agent_view_size=3",)),
        (("--env-args", "agent_view_size=5", "max_steps=9"), ("agent_view_size=5", "max_steps=9")),
        (("--env-args",), ()),
        ((), ()),
    ],
)
def test_arguments_that_equal_the_presets_are_kept_if_given(
    command: tuple[str, ...], words: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    """Would catch: an argument that the user typed for another environment, dropped since the preset's environment has
    the same."""
    parsed = parse([*command, "--preset", "memory-s9", "--env", "MiniGrid-MemoryS13Random-v0", *words])
    config = parsed.train if isinstance(parsed, TuneConfig) else parsed
    assert isinstance(config, TrainConfig)
    assert config.env.env_args == kept


@pytest.mark.parametrize(("words", "is_told"), [((), True), (("--env", "MiniGrid-MemoryS9-v0"), False)])
def test_a_training_of_nothing_in_particular(cli: Cli, tmp_path: Path, words: tuple[str, ...], is_told: bool) -> None:
    """Catches: a million steps of a task that nobody asked for, by settings that don't learn it, without a word; or the
    word where a task was given."""
    outcome = cli("train", *words, *TINY, "--total-timesteps", 64, "--run-dir", tmp_path / "run")
    assert outcome.status == 0
    assert ("neither --preset nor --env" in outcome.err) is is_told


def test_training_seeds_stay_below_the_evaluations(cli: Cli, tmp_path: Path) -> None:
    """Would catch: a training environment that starts with an evaluation's seed."""
    outcome = cli("train", "--seed", 10**9 - 1, "--n-envs", 4, "--run-dir", tmp_path / "run")
    assert outcome.status == 2
    assert "must not exceed 10**9" in outcome.err


def test_a_video_that_did_not_arrive_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch: a full disk that leaves a broken video in place of a good one, and says nothing."""
    from PIL import Image

    pictures = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in range(0, 200, 20)]
    target = tmp_path / "video.mp4"
    assert video.write(target, pictures, 4.0) == 10
    before = target.read_bytes()
    monkeypatch.setattr(video.imageio_ffmpeg, "count_frames_and_secs", lambda path: (3, 1.0))
    with pytest.raises(UserError, match="only 3 of 10 pictures arrived; is the disk full"):
        video.write(target, pictures, 4.0)
    assert target.read_bytes() == before
