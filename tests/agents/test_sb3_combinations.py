"""At home in Stable-Baselines3: each of its spaces, wrappers, callbacks, options and calls with the agent."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import ExpireSpanPPO
from tests.agents.models import collect, difference
from tests.agents.sb3 import page
from tests.agents.sb3.callbacks import CALLBACKS
from tests.agents.sb3.calls import CALLS
from tests.agents.sb3.models import N_ENVS, ROLLOUT, clocks, played, tiny, weights
from tests.agents.sb3.options import OPTIONS
from tests.agents.sb3.refusals import REFUSALS
from tests.agents.sb3.spaces import ACTIONS, OBSERVATIONS
from tests.agents.sb3.wrappers import WRAPPERS

pytestmark = pytest.mark.filterwarnings("ignore:.*not of the same type|rich is|.*multi-dimensional")


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_observations_with_actions(tmp_path: Path, observations: str, actions: str) -> None:
    """Would catch: a pair of spaces of which something is stored, trained on, saved or acted on in another shape, type
    or order than it came in."""
    seen, done = OBSERVATIONS[observations], ACTIONS[actions]
    arguments = done.arguments | {"policy_kwargs": seen.policy_kwargs | done.arguments.get("policy_kwargs", {})}
    model = tiny(clocks(seen.space, done.space), seen.policy, **arguments)
    before = weights(model)
    model.learn(ROLLOUT)
    assert not torch.equal(weights(model), before)
    assert weights(model).isfinite().all()
    collect(model)
    assert difference(model) < 1e-4, "what is trained isn't what acted"
    model.save(tmp_path / "model")
    loaded = ExpireSpanPPO.load(tmp_path / "model", device="cpu")
    env = model.get_env()
    assert env is not None
    np.testing.assert_array_equal(played(model, env), played(loaded, env))


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers(tmp_path: Path, name: str) -> None:
    """Would catch: a wrapper whose observations, final observations, rewards or infos are taken for others, or that
    the rollout passes by."""
    wrapped = WRAPPERS[name]
    with closing(wrapped.make(tmp_path)) as env:
        model = tiny(env, wrapped.policy, policy_kwargs=wrapped.policy_kwargs)
        model.learn(ROLLOUT)
        collect(model)
        assert difference(model) < 1e-4
        assert played(model, env).shape == (3, N_ENVS)
    if "VecVideoRecorder" in name:
        assert list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks(tmp_path: Path, name: str) -> None:
    """Would catch: a callback that isn't called, is told nothing, can't stop the training, or saves what can't be
    loaded. What must be so stands with each in `sb3.callbacks`."""
    CALLBACKS[name](tmp_path)


@pytest.mark.parametrize("name", OPTIONS)
def test_options(tmp_path: Path, name: str) -> None:
    """Would catch: an argument that is taken and does nothing, in the model trained or in the one loaded."""
    option = OPTIONS[name]
    arguments = {
        key: value.format(folder=tmp_path) if isinstance(value, str) else value
        for key, value in option.arguments.items()
    }
    model = tiny(clocks(actions=option.actions), **arguments)
    model.learn(2 * ROLLOUT)
    assert option.holds(model, tmp_path)
    model.save(tmp_path / "model")
    loaded = ExpireSpanPPO.load(tmp_path / "model", clocks(actions=option.actions), device="cpu")
    loaded.learn(ROLLOUT, reset_num_timesteps=False)
    assert option.holds(loaded, tmp_path)


@pytest.mark.parametrize("name", CALLS)
def test_calls(tmp_path: Path, name: str) -> None:
    """Would catch: a method of SB3's that is inherited and no longer true. What must be so stands with each in
    `sb3.calls`."""
    CALLS[name](tmp_path)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cant_work_says_so(name: str) -> None:
    """Would catch: an error from deep inside, that says neither what was wrong nor what would be right; or none, and
    an agent that trains on something else than was meant."""
    refusal = REFUSALS[name]
    with pytest.raises(refusal.error, match=re.escape(refusal.message)):
        refusal.ask()


RECURRENT_SCRIPT = """
import numpy as np

from {package} import {algorithm}
from stable_baselines3.common.evaluation import evaluate_policy

model = {algorithm}("{policy}", "CartPole-v1", n_steps=32, batch_size=32, verbose=1, {more})
model.learn(64)

vec_env = model.get_env()
mean_reward, std_reward = evaluate_policy(model, vec_env, n_eval_episodes=2, warn=False)
print(mean_reward)

model.save("ppo_recurrent")
del model

model = {algorithm}.load("ppo_recurrent", {more_of_load})

obs = vec_env.reset()
states = None
num_envs = 1
episode_starts = np.ones((num_envs,), dtype=bool)
for _ in range(20):
    action, states = model.predict(obs, state=states, episode_start=episode_starts, deterministic=True)
    obs, rewards, dones, info = vec_env.step(action)
    episode_starts = dones
"""
"""As sb3-contrib's users write it; in braces all that differs."""
OF_RECURRENT_PPO = {"package": "sb3_contrib", "algorithm": "RecurrentPPO", "policy": "MlpLstmPolicy"}
OF_OURS = {"package": "agents", "algorithm": "ExpireSpanPPO", "policy": "MlpPolicy"}


@pytest.mark.parametrize("names", [OF_RECURRENT_PPO, OF_OURS], ids=["sb3-contrib", "ours"])
def test_a_script_for_recurrent_ppo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], names: dict[str, str]
) -> None:
    """Would catch: a script for RecurrentPPO that needs more than other names; that it is one is seen by running it."""
    if names is OF_RECURRENT_PPO:
        pytest.importorskip("sb3_contrib")
    monkeypatch.chdir(tmp_path)
    ours = names is OF_OURS
    policy_kwargs = "dim=16, heads=2, slots=8, ramp_length=4" if ours else "lstm_hidden_size=16"
    device = 'device="cpu"'
    more = f"policy_kwargs=dict({policy_kwargs}), {device}" + (", compile=False" if ours else "")
    script = RECURRENT_SCRIPT.format(**names, more=more, more_of_load=device)
    found: dict[str, Any] = {}
    exec(compile(script, "script", "exec"), found)
    assert found["mean_reward"] > 5
    assert "total_timesteps" in capsys.readouterr().out


def test_the_page_says_what_is_tested() -> None:
    """Would catch: docs/compatibility.md telling of less, or of more, than these tests show. To make its tables anew:
    `python -m tests.agents.sb3.page`."""
    written = page.PAGE.read_text()
    assert page.filled(written) == written
