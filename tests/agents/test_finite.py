"""Numbers that aren't finite end a training before they are learned from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import ExpireSpanPPO
from agents.finite import check_finite
from envs.batched import BatchedVecEnv, make_batched
from tests.agents.models import CORE
from tests.experiments.faulty import FAULTY, FaultyEnv

SIZES: dict[str, Any] = {"n_steps": 16, "segment_length": 16, "batch_size": 32, "device": "cpu", "compile": False}
ROLLOUT = 4 * 16
pytestmark = pytest.mark.filterwarnings("ignore:batch_size|slots")


def serial(fault: str, folder: Path) -> DummyVecEnv:
    """Four environments, of which the third fails at its step 40: the eighth of the third rollout."""
    env = DummyVecEnv([lambda: FaultyEnv(fault, str(folder / "mended"))] * 4)
    env.seed(0)
    return env


def new(env: Any, policy: str = "MultiInputPolicy", **kwargs: Any) -> ExpireSpanPPO:
    model = ExpireSpanPPO(policy, env, policy_kwargs=dict(CORE), seed=0, **(SIZES | kwargs))
    model.set_logger(Logger(None, []))
    return model


def is_finite(model: ExpireSpanPPO) -> bool:
    return all(bool(weight.isfinite().all()) for weight in model.policy.parameters())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("nan reward", "environment 2 gave nan as reward at step 8 of the rollout"),
        ("inf observation", "environment 2 gave -inf as observation 'position' at step 8 of the rollout"),
        ("nan at the end", "environment 2 gave nan as final observation 'position' at step 8 of the rollout"),
    ],
)
def test_environments_that_give_what_is_not_finite(tmp_path: Path, fault: str, told: str) -> None:
    """Would catch: a NaN that goes into memories, advantages and every weight, and is found hours later; a training
    that can't go on once the environment is mended."""
    model = new(serial(fault, tmp_path))
    with pytest.raises(FloatingPointError, match=told):
        model.learn(10 * ROLLOUT)
    assert model.num_timesteps == 2 * ROLLOUT + 7 * 4
    assert is_finite(model)
    model.save(tmp_path / "model")
    (tmp_path / "mended").touch()
    loaded = ExpireSpanPPO.load(tmp_path / "model", serial(fault, tmp_path), device="cpu")
    loaded.learn(ROLLOUT, reset_num_timesteps=False)
    assert is_finite(loaded)


def test_the_first_observations_are_looked_at() -> None:
    """Would catch: a reset whose NaN is found a step later, or never where an episode lasts one step."""

    class Broken(FaultyEnv):
        def _observation(self) -> dict[str, Any]:
            return super()._observation() | {"position": np.array([0, np.nan], np.float32)}

    with pytest.raises(FloatingPointError, match="environment 0 gave nan as observation 'position' at step 0"):
        new(DummyVecEnv([Broken])).learn(ROLLOUT)


def test_whole_numbers_and_groups() -> None:
    """Would catch: images that are asked whether they are finite, which takes time or fails; a group's environments
    told by their place in the group."""
    check_finite({"image": np.zeros((2, 3), np.uint8), "flag": np.zeros(2, bool), "big": np.full(2, 3e38)}, "x", 1)
    with pytest.raises(FloatingPointError, match="environment 5 gave inf as x 'a' at step 9"):
        check_finite({"b": np.zeros(2), "a": np.array([0, np.inf])}, "x", 9, first=4)


def test_batched_rewards() -> None:
    """Would catch: rewards of environments that are tensors that nobody looks at, or another step's or environment's
    number."""
    tensor_env = make_batched("MiniGrid-MemoryS7-v0", 4, seed=1, agent_view_size=3, max_steps=11)
    step, steps = tensor_env.step, 0

    def faulty(actions: Any) -> Any:
        nonlocal steps
        steps += 1
        given = step(actions)
        if steps == 16 + 5:
            given.rewards[FAULTY] = np.nan
        return given

    model = new(BatchedVecEnv(tensor_env), "MlpPolicy")
    model.learn(ROLLOUT)
    tensor_env.step = faulty  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match="environment 2 gave nan as reward at step 5 of the rollout"):
        model.learn(2 * ROLLOUT)
    assert is_finite(model)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, r"update 3 isn't finite \(loss inf, value_loss inf\): try a smaller learning_rate"),
        ({"learning_rate": 1e30}, r"update 1 isn't finite \(.*norm of the weights inf"),
    ],
)
def test_updates_that_are_not_finite(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    """Would catch: weights that are NaN and go on, are saved, and act with an error far from the cause."""
    model = new(serial("huge rewards", tmp_path), n_epochs=1, **settings)
    with pytest.raises(FloatingPointError, match=told):
        model.learn(10 * ROLLOUT)


def test_one_broken_gradient_costs_nothing(tmp_path: Path) -> None:
    """Would catch: a model that can't be saved any more once a loss was infinite: all work lost without a
    checkpoint."""
    model = new(serial("huge rewards", tmp_path))
    with pytest.raises(FloatingPointError):
        model.learn(10 * ROLLOUT)
    assert is_finite(model)
    model.save(tmp_path / "model")
    assert is_finite(ExpireSpanPPO.load(tmp_path / "model", device="cpu"))
