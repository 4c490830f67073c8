"""Wrappers and vectors of environments, each around what it is for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnv,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
)

from envs.workers.vec_env import WorkerVecEnv
from tests.agents.sb3.clock import clock
from tests.agents.sb3.models import N_ENVS, clocks
from tests.agents.sb3.spaces import IMAGE, SMALL_CNN
from tests.agents.worlds import box


@dataclass(frozen=True)
class Wrapped:
    """Environments in a wrapper, and the policy that reads them."""

    make: Callable[[Path], VecEnv]
    """Of a folder to write in."""
    policy: str = "MlpPolicy"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def filmed(folder: Path) -> VecEnv:
    pytest.importorskip("moviepy")
    env = make_vec_env("CartPole-v1", N_ENVS, vec_env_cls=DummyVecEnv, env_kwargs={"render_mode": "rgb_array"})
    return VecVideoRecorder(env, str(folder), lambda step: step == 0, video_length=4)


_DICT = spaces.Dict({"image": IMAGE, "speed": box(2)})
_SMALL_DICT_CNN = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
_COPIES = [clock] * N_ENVS
WRAPPERS = {
    "`DummyVecEnv`": Wrapped(lambda _: DummyVecEnv(_COPIES)),
    "`SubprocVecEnv`": Wrapped(
        # By fork, so that nothing is imported anew.
        lambda _: SubprocVecEnv(_COPIES, start_method="fork"),
    ),
    "`WorkerVecEnv`": Wrapped(
        lambda _: WorkerVecEnv(_COPIES, n_workers=2),
        note="ours, `envs.workers`: many environments a process, which step while the agent acts in others",
    ),
    "`VecMonitor`": Wrapped(lambda _: VecMonitor(clocks())),
    "`VecNormalize`": Wrapped(lambda _: VecNormalize(clocks()), note="observations and rewards"),
    "`VecNormalize` of a Dict": Wrapped(
        lambda _: VecNormalize(clocks(_DICT), norm_obs_keys=["speed"]), "MultiInputPolicy", _SMALL_DICT_CNN
    ),
    "`VecFrameStack`": Wrapped(lambda _: VecFrameStack(clocks(), 3)),
    "`VecFrameStack` of images": Wrapped(lambda _: VecFrameStack(clocks(IMAGE), 2), "CnnPolicy", SMALL_CNN),
    "`VecTransposeImage`": Wrapped(
        lambda _: VecTransposeImage(clocks(IMAGE)), "CnnPolicy", SMALL_CNN, "comes by itself where it is needed"
    ),
    "`VecExtractDictObs`": Wrapped(lambda _: VecExtractDictObs(clocks(_DICT), "speed")),
    "`VecCheckNan`": Wrapped(lambda _: VecCheckNan(clocks(), raise_exception=True)),
    "`VecVideoRecorder`": Wrapped(filmed, note="SB3 writes the film with `moviepy`, which must be installed"),
}
