"""How a training's environments step: each way trains, and says what it can't do."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from envs.batched import BatchedVecEnv
from envs.envpool_memory import EnvPoolVecEnv
from envs.faults import EnvironmentFault
from envs.workers.vec_env import WorkerVecEnv
from experiments.config import EnvConfig
from experiments.environments import training_envs
from experiments.errors import UserError
from tests.experiments.conftest import TINY, Cli

S7 = "MiniGrid-MemoryS7-v0"
ROOT = Path(__file__).parents[2]
needs_envpool = pytest.mark.skipif(importlib.util.find_spec("envpool") is None, reason="EnvPool isn't installed")
WAYS = [
    EnvConfig(S7, n_envs=3),
    EnvConfig(S7, n_envs=3, vec_env="subprocess", n_workers=2),
    EnvConfig(S7, n_envs=3, vec_env="batched"),
    pytest.param(EnvConfig(S7, n_envs=3, vec_env="envpool", n_workers=1), marks=needs_envpool),
]
KINDS = {"serial": DummyVecEnv, "subprocess": WorkerVecEnv, "batched": BatchedVecEnv, "envpool": EnvPoolVecEnv}


def _run(vec_env: VecEnv, steps: int) -> list[np.ndarray]:
    """Observations of random steps, the first ones included."""
    actions = np.random.default_rng(0).integers(3, size=(steps, vec_env.num_envs))
    seen = [vec_env.reset(), *(vec_env.step(row)[0] for row in actions)]
    vec_env.close()
    return [np.asarray(observations) for observations in seen]


@pytest.mark.parametrize("env", WAYS)
def test_each_way_gives_the_same_spaces_and_a_seed_its_levels(env: EnvConfig) -> None:
    """Would catch: a way that makes other environments than it says, or steps that the seed doesn't fix."""
    one, other, third = (training_envs(env, seed, torch.device("cpu")) for seed in (4, 4, 5))
    assert type(one) is KINDS[env.vec_env]
    assert (one.num_envs, one.action_space.n) == (3, 3)
    assert one.observation_space == training_envs(EnvConfig(S7, n_envs=1), 0).observation_space
    seen = _run(one, 40)
    np.testing.assert_array_equal(seen, _run(other, 40))
    assert (np.stack(seen) != np.stack(_run(third, 40))).any()


def test_workers_give_what_serial_ones_do() -> None:
    """Would catch: a run whose levels depend on how its environments step, where they needn't."""
    serial, workers = (
        training_envs(env, 7) for env in (EnvConfig(S7, n_envs=3), EnvConfig(S7, (), 3, "subprocess", 2))
    )
    np.testing.assert_array_equal(_run(serial, 40), _run(workers, 40))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (EnvConfig("CartPole-v1", vec_env="batched"), "--vec-env batched: CartPole-v1 has no batched version"),
        (EnvConfig("CartPole-v1", vec_env="envpool"), "--vec-env envpool: EnvPool has no 'CartPole-v1' as we read it"),
        (
            EnvConfig(S7, ("agent_view_size=3",), vec_env="envpool"),
            "--vec-env envpool: EnvPool breaks with agent_view_size=3: only 7 is supported",
        ),
        (
            EnvConfig(S7, ("size=9",), vec_env="envpool"),
            "--vec-env envpool: environments can be given agent_view_size and max_steps, not size",
        ),
        (EnvConfig("CartPole-v2", vec_env="envpool"), "environment: no environment 'CartPole-v2'"),
    ],
)
def test_what_a_way_cant_do_is_said(env: EnvConfig, message: str) -> None:
    """Would catch: a traceback, or a run with other environments than those asked for."""
    with pytest.raises(UserError) as caught:
        training_envs(env, 0)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_without_envpool_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path) -> None:
    """Would catch: a traceback where the extra isn't installed."""
    monkeypatch.setitem(sys.modules, "envpool", None)
    run = cli("train", "--env", S7, *TINY, "--vec-env", "envpool", "--run-dir", tmp_path / "run")
    assert run.status == 2
    assert "--vec-env envpool: EnvPool isn't installed: pip install 'expire-span[envpool]'" in run.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("vec_env", ["serial", "subprocess"])
def test_a_module_in_the_working_directory_is_found(tmp_path: Path, vec_env: str) -> None:
    """Would catch: `--env recall:Recall-v0` that `python -m experiments` finds and the console script doesn't, or a
    folder of the user's that is taken for our `envs`."""
    (tmp_path / "recall.py").write_text(
        "import gymnasium as gym\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gym.register('Recall-v0', CartPoleEnv, max_episode_steps=9)\n"
    )
    (tmp_path / "envs").mkdir()
    # -P: as in a console script, the folder that it is called in isn't where modules are looked for.
    script = [sys.executable, "-P", "-c", "import sys; from experiments.cli import main; sys.exit(main())"]
    flags = ["train", "--env", "recall:Recall-v0", *TINY, "--vec-env", vec_env, "--total-timesteps", "64"]
    paths = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).strip(os.pathsep)
    done = subprocess.run(
        [*script, *flags, "--run-dir", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").is_file()


class MisshapenEnv(gym.Env[Any, Any]):
    """The third observation of an episode has one number for the two of its space."""

    def __init__(self, in_dict: bool = False) -> None:
        box = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = (
            spaces.Dict({"bare": spaces.Box(0, 1, (1,)), "codes": spaces.Discrete(3), "place": box}) if in_dict else box
        )
        self.action_space = spaces.Discrete(2)
        self._steps, self._in_dict = 0, in_dict

    def _observation(self) -> Any:
        place = np.zeros(1 if self._steps == 2 else 2, np.float32)
        return {"place": place, "codes": 1, "bare": 0.5} if self._in_dict else place

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """An episode."""
        super().reset(seed=seed)
        self._steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step."""
        self._steps += 1
        return self._observation(), 0.0, False, False, {}


gym.register("ExpireSpanTest/Misshapen-v0", f"{__name__}:MisshapenEnv", disable_env_checker=True)


@pytest.mark.parametrize("way", ["serial", "subprocess"])
@pytest.mark.parametrize(("in_dict", "what"), [(False, "an observation"), (True, "an observation's 'place'")])
def test_a_wrong_shape_is_told_with_its_environment(
    in_dict: bool, what: str, way: Literal["serial", "subprocess"]
) -> None:
    """Would catch: an observation that can't be kept, with no word on whose it is, or one number that is kept as two
    equal ones."""
    env_id = f"{__name__}:ExpireSpanTest/Misshapen-v0"
    workers = 1 if way == "subprocess" else None
    config = EnvConfig(env_id, (f"in_dict={in_dict}",), n_envs=2, vec_env=way, n_workers=workers)
    vec_env = training_envs(config, 0)
    vec_env.reset()
    vec_env.step(np.zeros(2, int))
    message = rf"^environment 0: {what} is of shape \(1,\), its space of \(2,\)(\n|$)"
    with pytest.raises(EnvironmentFault, match=message):
        vec_env.step(np.zeros(2, int))
    vec_env.close()


def test_n_workers_is_checked(cli: Cli, tmp_path: Path) -> None:
    """Would catch: a traceback for a number that can't be."""
    run = cli("train", "--env", S7, "--vec-env", "subprocess", "--n-workers", 0, "--run-dir", tmp_path / "run")
    assert run.status == 2
    assert "--n-workers 0: must be at least 1" in run.err


def test_a_run_goes_on_another_way(cli: Cli, tmp_path: Path) -> None:
    """Would catch: a run bound for ever to the way in which its first environments stepped."""
    folder = tmp_path / "run"
    first = cli("train", "--env", S7, *TINY, "--total-timesteps", 64, "--run-dir", folder)
    assert first.status == 0, first.err
    for i, way in enumerate((("batched",), ("subprocess", "--n-workers", 1))):
        steps = 64 * (i + 2)
        run = cli("train", "--resume", folder, "--total-timesteps", steps, "--vec-env", *way)
        assert run.status == 0, run.err
        assert json.loads((folder / "config.json").read_text())["config"]["env"]["vec_env"] == way[0]
