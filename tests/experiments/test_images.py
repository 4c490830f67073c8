"""Environments that are seen as pictures: Stable-Baselines3 turns them, channels first, while it trains."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tests.experiments.conftest import TINY, Cli

PICTURE = spaces.Box(0, 255, (40, 48, 3), np.uint8)


class PictureEnv(gym.Env[Any, np.int64]):
    """Noise, alone or in a dictionary; episodes of five steps."""

    def __init__(
        self, channels_first: bool = False, in_dict: bool = False, pixels: int = 0, render_mode: str | None = None
    ) -> None:
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 4}
        self.render_mode = render_mode
        last = (pixels, pixels, 3) if pixels else PICTURE.shape
        shape = np.roll(last, 1) if channels_first else last
        picture = spaces.Box(0, 255, tuple(shape), np.uint8)
        self.observation_space = spaces.Dict({"picture": picture, "speed": spaces.Box(-1, 1)}) if in_dict else picture
        self.action_space = spaces.Discrete(2)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Count."""
        self.steps += 1
        return self.observation_space.sample(), 1.0, self.steps == 5, False, {}

    def render(self) -> np.ndarray:
        """Noise."""
        return PICTURE.sample()


@pytest.fixture
def env_id() -> Iterator[str]:
    """The id of `PictureEnv`."""
    gym.register("Test/Picture-v0", entry_point=f"{__name__}:PictureEnv")
    yield "Test/Picture-v0"
    del gym.registry["Test/Picture-v0"]


@pytest.mark.parametrize("arguments", [(), ("in_dict=True",), ("channels_first=True",)])
def test_a_model_knows_its_environment_again(arguments: tuple[str, ...], env_id: str, tmp_path: Path, cli: Cli) -> None:
    """Would catch: a trained model that evaluate, record or --resume takes for another run's."""
    run = tmp_path / "run"
    flags = ("--env-args", *arguments) if arguments else ()
    outcome = cli("train", "--env", env_id, *flags, *TINY, "--total-timesteps", 64, "--run-dir", run)
    assert outcome.status == 0, outcome.err
    outcome = cli("evaluate", run, "--episodes", 2, "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["mean_length"] == 5
    outcome = cli("record", run, "--episodes", 1, "--output", run / "picture.png")
    assert outcome.status == 0, outcome.err
    outcome = cli("train", "--resume", run, "--total-timesteps", 128)
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize("arguments", [("pixels=8",), ("pixels=8", "in_dict=True")])
def test_small_pictures_are_refused_where_a_cnn_would_read_them(
    arguments: tuple[str, ...], env_id: str, tmp_path: Path, cli: Cli
) -> None:
    """Would catch: a traceback of PyTorch's about its kernels; a run folder that is left behind."""
    train = ("train", "--env", env_id, "--env-args", *arguments, *TINY, "--total-timesteps", 64)
    outcome = cli(*train, "--run-dir", tmp_path / "run")
    assert outcome.status == 2
    assert "NatureCNN needs 36 by 36 pixels" in outcome.err
    assert not (tmp_path / "run").exists()


def test_small_pictures_that_no_cnn_reads(env_id: str, tmp_path: Path, cli: Cli) -> None:
    """Would catch: pictures refused for a CNN that isn't there."""
    run = tmp_path / "run"
    train = ("train", "--env", env_id, "--env-args", "pixels=8", "--policy", "MlpPolicy", *TINY)
    outcome = cli(*train, "--total-timesteps", 64, "--run-dir", run)
    assert outcome.status == 0, outcome.err
    assert json.loads(cli("evaluate", run, "--episodes", 2, "--json").out)["mean_length"] == 5
