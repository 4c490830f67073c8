"""Methods of a model: each entry calls one and looks at what it did. An entry's docstring is its line on the page."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from agents import ExpireSpanPPO
from agents.cores import mapped
from tests.agents.models import collect
from tests.agents.sb3.models import N_ENVS, ROLLOUT, clocks, played, tiny, weights


def seeded(folder: Path) -> None:
    """The same weights each time, after the training, too."""
    one, other, another = (tiny(seed=seed).learn(2 * ROLLOUT) for seed in (3, 3, 4))
    assert torch.equal(weights(one), weights(other))
    assert not torch.equal(weights(one), weights(another))


def set_up_later(folder: Path) -> None:
    """Makes the model in `_setup_model()`."""
    model = tiny(_init_setup_model=False)
    assert not hasattr(model, "policy")
    model._setup_model()
    assert torch.equal(weights(model), weights(tiny()))
    model.learn(ROLLOUT)


def by_id(folder: Path) -> None:
    """A registered id, or a single environment, is put into a `Monitor` and a `DummyVecEnv`."""
    model = tiny("CartPole-v1").learn(ROLLOUT)
    assert model.n_envs == 1


def parameters(folder: Path) -> None:
    """From `get_parameters()` or a file; weights and optimiser."""
    one, other = tiny().learn(ROLLOUT), tiny(seed=1)
    other.set_parameters(one.get_parameters())
    assert torch.equal(weights(one), weights(other))
    one.save(folder / "one")
    other = tiny(seed=1)
    other.set_parameters(str(folder / "one"))
    assert torch.equal(weights(one), weights(other))
    steps = [state["step"] for state in other.policy.optimizer.state_dict()["state"].values()]
    assert steps
    assert all(step == 2 for step in steps)


def other_env(folder: Path) -> None:
    """Other environments, of the same number and spaces; a training goes on there with empty memories."""
    model = tiny().learn(ROLLOUT)
    env = clocks()
    model.set_env(env)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert model.get_env() is env
    assert model.rollout_buffer.episode_starts[0].all()
    assert model.num_timesteps == 2 * ROLLOUT


def going_on(folder: Path) -> None:
    """Counts on, in the midst of episodes and with what is remembered of them."""
    model = tiny().learn(ROLLOUT)
    assert model._memory is not None
    remembered = mapped(torch.clone, model._memory)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert model.num_timesteps == 2 * ROLLOUT
    began_with = mapped(itemgetter(0), model.rollout_buffer.memory)
    assert all(map(torch.equal, remembered, began_with))
    model.learn(ROLLOUT)
    assert model.num_timesteps == ROLLOUT


def printed(folder: Path) -> None:
    """`verbose=1` prints the device, the wrappers and a table after each rollout, as in SB3."""
    with redirect_stdout(io.StringIO()) as out:
        tiny("CartPole-v1", verbose=1).learn(ROLLOUT)
    for text in ("Using cpu device", "Wrapping the env in a DummyVecEnv", "total_timesteps", "live_memories"):
        assert text in out.getvalue()


def logged(folder: Path) -> None:
    """Any of SB3's loggers, such as `stable_baselines3.common.logger.configure(folder, ["csv", "tensorboard"])`."""
    model = tiny()
    model.set_logger(configure(str(folder), ["csv", "json", "log", "tensorboard"]))
    model.learn(2 * ROLLOUT)
    names = {path.name.split(".")[0] for path in folder.iterdir()}
    assert names == {"progress", "log", "events"}
    assert "memory/live_memories" in (folder / "progress.csv").read_text()


def evaluated(folder: Path) -> None:
    """SB3's own; it carries the state from step to step, and says where episodes start."""
    model, remembered = tiny().learn(ROLLOUT), []

    def look(local: dict[str, Any], _: dict[str, Any]) -> None:
        remembered.append(int(local["states"].cache.memory.elapsed_times.isfinite().sum(-1).max()))

    _, lengths = evaluate_policy(model, VecMonitor(clocks()), 4, callback=look, return_episode_rewards=True)
    assert isinstance(lengths, list)
    assert len(lengths) == 4
    assert max(remembered) > 1


def normalised(folder: Path) -> None:
    """The running statistics of `VecNormalize`, as in SB3."""
    env = VecNormalize(clocks())
    model = tiny(env)
    assert model.get_vec_normalize_env() is env
    assert tiny().get_vec_normalize_env() is None


def training_mode(folder: Path) -> None:
    """`predict` and rollouts are in evaluation mode, updates in training mode."""
    model = tiny()
    collect(model)
    assert not model.policy.training
    model.train()
    assert model.policy.training
    model.policy.set_training_mode(False)
    assert not model.policy.core.training
    model.policy.set_training_mode(True)
    model.predict(np.zeros((N_ENVS, 3), np.float32))
    assert not model.policy.training


def changed_when_loaded(folder: Path) -> None:
    """`env`, `device`, `custom_objects` and any argument of the constructor can be other ones."""
    tiny(learning_rate=lambda progress: progress).save(folder / "model")
    model = ExpireSpanPPO.load(
        folder / "model", clocks(), device="cpu", custom_objects={"learning_rate": 0.5}, n_epochs=2, gamma=0.9
    )
    assert (model.learning_rate, model.n_epochs, model.gamma) == (0.5, 2, 0.9)
    model.learn(ROLLOUT)


def saved_under(folder: Path) -> None:
    """`path` gets the suffix `.safetensors` where it has none; `load` finds it with and without. An open binary file
    will do, too. SB3's `exclude` and `include` are refused."""
    model = tiny()
    model.save(folder / "one")
    model.save(str(folder / "two.zip"))
    with (folder / "three").open("wb") as file:
        model.save(file)
    assert {path.name for path in folder.iterdir()} == {"one.safetensors", "two.zip", "three"}
    for name in ("one", "one.safetensors", "two.zip", "three"):
        np.testing.assert_array_equal(
            played(ExpireSpanPPO.load(folder / name, device="cpu"), clocks()), played(model, clocks())
        )


def policy_alone(folder: Path) -> None:
    """The policy without its optimiser, as in SB3."""
    model = tiny().learn(ROLLOUT)
    model.policy.save(str(folder / "policy"))
    policy = type(model.policy).load(str(folder / "policy"), device="cpu")
    obs = np.zeros((N_ENVS, 3), np.float32)
    np.testing.assert_array_equal(policy.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])


CALLS: dict[str, Callable[[Path], None]] = {
    "`seed`": seeded,
    "`_init_setup_model=False`": set_up_later,
    '`ExpireSpanPPO("MlpPolicy", "CartPole-v1")`': by_id,
    "`get_parameters`, `set_parameters`": parameters,
    "`set_env`, `get_env`": other_env,
    "`learn(reset_num_timesteps=False)`": going_on,
    "`verbose`": printed,
    "`set_logger`": logged,
    "`evaluate_policy`": evaluated,
    "`get_vec_normalize_env`": normalised,
    "`policy.set_training_mode`": training_mode,
    "`save`": saved_under,
    "`load`": changed_when_loaded,
    "`policy.save`, `policy.load`": policy_alone,
}
