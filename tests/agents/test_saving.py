"""Models and trainings in files: what goes in comes out, to the bit, and nothing in a file is run."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch import nn

from agents import ExpireSpanPPO, checkpoint
from agents.checkpoint import CheckpointError
from agents.policies import ExpireSpanActorCriticPolicy
from envs import make_env
from envs.batched import BatchedVecEnv, make_batched
from tests.agents.models import CORE, DEVICES
from tests.agents.worlds import ClockEnv, box
from tests.trees import equal

SIZES: dict[str, Any] = {"n_steps": 32, "segment_length": 16, "batch_size": 64, "device": "cpu", "compile": False}
pytestmark = pytest.mark.filterwarnings("ignore:batch_size|slots")


def batched() -> BatchedVecEnv:
    return BatchedVecEnv(make_batched("MiniGrid-MemoryS7-v0", 4, seed=1, agent_view_size=3, max_steps=11))


def pendulums(n_envs: int = 2) -> VecEnv:
    return VecNormalize(DummyVecEnv([lambda: make_env("ExpireSpan/PendulumNoVelocity-v0")] * n_envs))


def new(env: VecEnv, **kwargs: Any) -> ExpireSpanPPO:
    model = ExpireSpanPPO("MlpPolicy", env, policy_kwargs=dict(CORE), seed=3, **(SIZES | kwargs))
    model.set_logger(Logger(None, []))
    return model


class SaveAt(BaseCallback):
    """Saves the training before its n-th rollout."""

    def __init__(self, path: Path, rollout: int) -> None:
        super().__init__()
        self._path, self._left = path, rollout

    def _on_rollout_start(self) -> None:
        if self._left == 0:
            assert isinstance(self.model, ExpireSpanPPO)
            self.model.save_training(self._path)
        self._left -= 1

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"learning_rate": LinearSchedule(1e-3, 1e-5, 1.0), "clip_range_vf": 0.2, "target_kl": 0.05, "gae_lambda": 0.8},
        {"memory_budget": LinearSchedule(9.0, 2.0, 1.0), "normalize_advantage": False, "precision": "bf16"},
        {"min_advantage_std": 0.25, "forget_at_success": 0.9},
    ],
)
def test_a_model_comes_back_whole(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """Would catch: an argument, counter or weight that isn't saved, or gets another's place; an optimiser that begins
    anew; a suffix that saves in one place and looks in another."""
    model = new(batched(), **arguments)
    model.learn(2 * 32 * 4)
    model.save(tmp_path / "model")
    loaded = ExpireSpanPPO.load(tmp_path / "model", device="cpu")
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    assert equal(checkpoint.read(tmp_path / "model.safetensors"), checkpoint.read(again))
    obs = np.zeros((2, 3, 3, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.predict(obs, deterministic=True)[0], loaded.predict(obs, deterministic=True)[0])
    assert loaded.learning_rate == model.learning_rate or callable(loaded.learning_rate)
    assert (loaded.num_timesteps, loaded.seed) == (2 * 32 * 4, 3)
    loaded.set_env(batched())
    loaded.learn(32 * 4, reset_num_timesteps=False)
    assert loaded.num_timesteps == 3 * 32 * 4


def test_open_files_and_parameters(tmp_path: Path) -> None:
    """Would catch: SB3's calls with open files or `set_parameters` of a path, which would unpickle."""
    model, stream = new(batched()), io.BytesIO()
    model.save(stream)
    stream.seek(0)
    loaded = ExpireSpanPPO.load(stream, device="cpu")
    assert equal(dict(loaded.policy.state_dict()), dict(model.policy.state_dict()))
    other = new(batched(), learning_rate=1e-2)
    with torch.no_grad():
        for weight in other.policy.parameters():
            weight.add_(1)
    model.save(tmp_path / "m")
    other.set_parameters(str(tmp_path / "m"))
    assert equal(dict(other.policy.state_dict()), dict(model.policy.state_dict()))
    model.policy.save(str(tmp_path / "policy"))
    policy = ExpireSpanActorCriticPolicy.load(str(tmp_path / "policy"), device="cpu")
    assert equal(dict(policy.state_dict()), dict(model.policy.state_dict()))


def test_parameters_of_a_file_draw_no_random_numbers(tmp_path: Path) -> None:
    """Would catch: `set_parameters` of a path that makes a second model, which seeds all generators anew, so that a
    training goes on with numbers that it has drawn before."""
    model = new(batched())
    model.learn(2 * 32 * 4)
    model.save(tmp_path / "m")
    other = new(batched(), learning_rate=1e-2)
    before = checkpoint.random_states()
    other.set_parameters(str(tmp_path / "m"))
    # Python's generator is also drawn from by the tests' check of types.
    after = checkpoint.random_states()
    assert all(equal(after[name], before[name]) for name in ("numpy", "torch", "cuda"))
    assert equal(other.get_parameters(), model.get_parameters())
    assert not {weight.data_ptr() for weight in other.policy.parameters()} & {
        weight.data_ptr() for weight in model.policy.parameters()
    }


def test_parameters_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    """Would catch: a model with some weights of another, where the rest doesn't fit; an error that doesn't say what."""
    model = new(batched())
    model.learn(32 * 4)
    model.save(tmp_path / "m")
    good = checkpoint.read(tmp_path / "m.safetensors")
    weights, first = good["weights"], "action_net.weight"
    rest = {name: weight + 1 for name, weight in weights.items() if name != first}
    state = copy.deepcopy(good["optimizer"])
    _, moments = dict(state["pairs"])["state"]["pairs"][0]
    dict(moments["pairs"])["exp_avg"].resize_(1)
    group = {"pairs": [["params", [0]]]}
    lies: list[tuple[tuple[str, ...], Any, str]] = [
        (("weights",), rest | {first: torch.zeros(1)}, r"'action_net.weight' .*the file has \(1,\).*the model \("),
        (("weights",), rest, "'action_net.weight' .*the file has no such weight"),
        (("weights",), rest | {first: weights[first], "more": torch.zeros(1)}, "'more' .*the model no such weight"),
        (("weights",), rest | {first: 3}, "weights aren't tensors by name"),
        (("optimizer",), state, "the optimiser's 'exp_avg' doesn't have its weight's shape"),
        (("optimizer",), {"pairs": [["state", {"pairs": []}], ["param_groups", [group]]]}, "doesn't fit together"),
        (("kind",), "another", "this is 'another'"),
    ]
    before = copy.deepcopy(model.get_parameters())
    for where, value, told in lies:
        checkpoint.write(
            tmp_path / "bad", changed(good | {"weights": rest | {first: weights[first]}}, *where, value=value)
        )
        with pytest.raises(CheckpointError, match=told) as refused:
            model.set_parameters(str(tmp_path / "bad"))
        assert "\n" not in str(refused.value)
        assert equal(model.get_parameters(), before), told
    checkpoint.write(tmp_path / "part", good | {"weights": rest})
    model.set_parameters(str(tmp_path / "part"), exact_match=False)
    now = model.policy.state_dict()
    assert torch.equal(now[first], weights[first])
    assert all(torch.equal(now[name], weight) for name, weight in rest.items())


@pytest.mark.parametrize(("make", "exact"), [(batched, True), (pendulums, False)])
def test_resumed_as_if_never_stopped(tmp_path: Path, make: Callable[[], VecEnv], exact: bool) -> None:
    """Would catch: memory, optimiser, schedules, statistics, environments or any random generator that begins anew
    (exact for batched environments; with others the note says what does)."""
    total, path = 4 * 32 * 4, tmp_path / "training.safetensors"
    whole = new(make(), learning_rate=LinearSchedule(1e-3, 1e-4, 1.0))
    whole.learn(total, callback=SaveAt(path, 2))
    torch.manual_seed(99)
    env = make()
    resumed, note = ExpireSpanPPO.resume(path, env, device="cpu")
    before = resumed.num_timesteps
    resumed.set_logger(Logger(None, []))
    resumed.learn(total - before, reset_num_timesteps=False)
    assert 0 < before < total
    assert resumed.num_timesteps == whole.num_timesteps
    if exact:
        assert note is None
        assert equal(dict(resumed.policy.state_dict()), dict(whole.policy.state_dict()))
        assert equal(resumed.get_parameters()["policy.optimizer"], whole.get_parameters()["policy.optimizer"])
        assert [e["r"] for e in resumed.ep_info_buffer or ()] == [e["r"] for e in whole.ep_info_buffer or ()]
        return
    assert note is not None
    assert "start anew" in note
    assert isinstance(env, VecNormalize)
    assert env.ret_rms.count > 64, "VecNormalize goes on from its statistics"


def test_a_training_holds_only_what_can_be_resumed(tmp_path: Path) -> None:
    """Would catch: a memory in the files of trainings whose environments start anew, which nobody reads and which may
    be half of the file; such a file of before that is refused."""
    model = new(pendulums())
    model.learn(32 * 2)
    model.save_training(tmp_path / "training")
    tree = checkpoint.read(tmp_path / "training.safetensors")
    held = {name for name, part in tree["training"].items() if part is not None}
    assert held == {"random", "normalization"}
    memory = model._memory
    assert memory is not None
    before = {"obs": model._last_obs, "starts": model._last_episode_starts, "memory": memory._asdict()}
    checkpoint.write(tmp_path / "old", tree | {"training": tree["training"] | before})
    for name in ("training", "old"):
        resumed, note = ExpireSpanPPO.resume(tmp_path / name, pendulums(), device="cpu")
        assert resumed._memory is None
        assert note is not None
        resumed.set_logger(Logger(None, []))
        resumed.learn(32 * 2, reset_num_timesteps=False)


@pytest.mark.parametrize("device", DEVICES)
def test_resumed_it_draws_the_same_actions(tmp_path: Path, device: str) -> None:
    """Would catch: on CUDA, numbers drawn while programs are captured anew, or a generator that a graph goes on
    from where it was; there weights are the same up to the order of sums alone."""

    def rollout(model: ExpireSpanPPO) -> torch.Tensor:
        model.learn(32 * 4, reset_num_timesteps=False)
        return model.rollout_buffer.actions.clone()

    def envs() -> BatchedVecEnv:
        return BatchedVecEnv(
            make_batched("MiniGrid-MemoryS7-v0", 4, torch.device(device), seed=1, agent_view_size=3, max_steps=11)
        )

    whole = new(envs(), device=device)
    whole.learn(2 * 32 * 4)
    whole.save_training(tmp_path / "training")
    expected = rollout(whole)
    resumed, note = ExpireSpanPPO.resume(tmp_path / "training", envs(), device=device)
    resumed.set_logger(Logger(None, []))
    assert note is None
    assert torch.equal(rollout(resumed), expected)
    assert resumed.num_timesteps == 3 * 32 * 4


class OwnPolicy(ExpireSpanActorCriticPolicy):
    """A user's own."""


def test_own_classes_are_passed_not_imported(tmp_path: Path) -> None:
    """Would catch: a class found by a path in the file, or an error that doesn't say what to pass."""
    model = ExpireSpanPPO(OwnPolicy, batched(), policy_kwargs=CORE | {"activation_fn": nn.ELU}, **SIZES)
    model.save(tmp_path / "own")
    with pytest.raises(CheckpointError, match="OwnPolicy"):
        ExpireSpanPPO.load(tmp_path / "own", device="cpu")
    name = f"{__name__}.OwnPolicy"
    loaded = ExpireSpanPPO.load(tmp_path / "own", device="cpu", classes={name: OwnPolicy})
    assert type(loaded.policy) is OwnPolicy
    assert loaded.policy.activation_fn is nn.ELU


def test_another_optimisers_state_is_refused(tmp_path: Path) -> None:
    """Would catch: a step size of Adam's that SGD takes, and a `KeyError` in the next training."""
    new(batched()).save(tmp_path / "m")
    sgd = CORE | {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {}}
    other = ExpireSpanPPO("MlpPolicy", batched(), policy_kwargs=sgd, **SIZES)
    with pytest.raises(CheckpointError, match="the optimiser's state is another's than SGD's"):
        other.set_parameters(str(tmp_path / "m"))
    other.learn(32 * 4)


def test_functions_are_asked_for(tmp_path: Path) -> None:
    """Would catch: a learning rate that silently becomes another, a save that fails for a function; `set_parameters`
    that asks for one, which it has no use for and can't be given."""
    model = new(batched(), learning_rate=lambda progress: 1e-3 * progress)
    model.save(tmp_path / "f")
    with pytest.raises(CheckpointError, match=r"learning_rate.*custom_objects"):
        ExpireSpanPPO.load(tmp_path / "f", device="cpu")
    loaded = ExpireSpanPPO.load(tmp_path / "f", device="cpu", custom_objects={"learning_rate": 0.5})
    assert loaded.lr_schedule(1.0) == 0.5
    assert ExpireSpanPPO.load(tmp_path / "f", device="cpu", custom_objects={"learning_rate": 1}, gamma=0.5).gamma == 0.5
    model.set_parameters(str(tmp_path / "f"))


def test_any_window_of_episodes_can_be_saved(tmp_path: Path) -> None:
    """Would catch: episodes written one by one, of which some 48,000 fill a header, so that a training with a large
    `stats_window_size` can't be saved any more; a success, return or length that gets another's place."""
    count = 100_000
    model = new(batched(), stats_window_size=count)
    model.learn(32 * 4)
    assert model.ep_info_buffer is not None
    assert model.ep_success_buffer is not None
    model.ep_info_buffer.extend({"r": i / 7, "l": i, "t": i / 3, "coins": i % 5, "name": "x"} for i in range(count - 1))
    model.ep_info_buffer.append({"r": np.float32(0.5), "l": np.int64(9), "t": 1, "coins": np.int8(3)})
    first = model.ep_info_buffer[0]
    first["coins"], first["l"] = 0, np.nan
    model.ep_success_buffer.extend(i % 3 == 0 for i in range(count - 1))
    model.ep_success_buffer.append(np.True_)
    model.save_training(tmp_path / "t")
    loaded = ExpireSpanPPO.load(tmp_path / "t", device="cpu")
    infos, successes = loaded.ep_info_buffer, loaded.ep_success_buffer
    assert infos is not None
    assert successes is not None
    assert len(infos) == len(successes) == infos.maxlen == successes.maxlen == count
    assert infos[7] == {"r": 1.0, "l": 7, "t": 7 / 3, "coins": 2}
    assert infos[-1] == {"r": 0.5, "l": 9, "t": 1.0, "coins": 3}
    assert infos[0]["l"] == 0, "what is no number"
    assert [successes[i] for i in (0, 1, 2, 3, -1)] == [True, False, False, True, True]
    few = ExpireSpanPPO.load(tmp_path / "t", device="cpu", stats_window_size=2)
    assert [info["l"] for info in few.ep_info_buffer or ()] == [count - 2, 9], "the newest"


def test_files_with_episodes_one_by_one_still_load(tmp_path: Path) -> None:
    """Would catch: a model of before, whose file has its episodes as dictionaries, that is refused now."""
    new(batched()).learn(32 * 4).save(tmp_path / "m")
    now = checkpoint.read(tmp_path / "m.safetensors")
    episodes = [{"r": 0.5, "l": 7, "t": 1.25}, {"r": np.float32(1), "l": np.int64(3), "t": 2.0, "who": "x"}, {}]
    checkpoint.write(tmp_path / "old", now | {"episodes": episodes, "successes": [True, False]})
    loaded = ExpireSpanPPO.load(tmp_path / "old", device="cpu")
    assert list(loaded.ep_info_buffer or ()) == [
        {"r": 0.5, "l": 7, "t": 1.25},
        {"r": 1.0, "l": 3, "t": 2.0},
        {"r": 0.0, "l": 0, "t": 0.0},
    ]
    assert list(loaded.ep_success_buffer or ()) == [True, False]
    checkpoint.write(tmp_path / "none", now | {"episodes": None, "successes": None})
    assert ExpireSpanPPO.load(tmp_path / "none", device="cpu").ep_info_buffer is None


class Bomb:
    """Runs something when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_pickles_are_refused_not_run(tmp_path: Path) -> None:
    """Would catch: any road from a model's file to the unpickler, SB3's own zip and policy files included."""
    marker = tmp_path / "marker"
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "sb3")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb(marker)))
    torch.save({"state_dict": {}, "data": Bomb(marker)}, tmp_path / "policy")
    for name in ("sb3.zip", "pickle", "policy"):
        for load in (
            ExpireSpanPPO.load,
            ExpireSpanActorCriticPolicy.load,
            new(batched()).set_parameters,
            lambda path: ExpireSpanPPO.resume(path, batched()),
        ):
            with pytest.raises(CheckpointError):
                load(str(tmp_path / name))
    assert not marker.exists()


def changed(tree: Any, *path: str, value: Any) -> Any:
    """A copy of a tree with one entry changed."""
    if not path:
        return value
    return tree | {path[0]: changed(tree[path[0]], *path[1:], value=value)}


def test_a_whole_file_that_lies_is_refused(tmp_path: Path) -> None:
    """Would catch: sizes in a file that ask for all memory, values of wrong types that fail much later, weights of
    another policy. Each has a valid checksum."""
    model = new(batched())
    model.learn(32 * 4)
    model.save_training(tmp_path / "good")
    good = checkpoint.read(tmp_path / "good.safetensors")
    assert isinstance(good, dict)
    kwargs = dict(good["policy_kwargs"])
    weights = good["weights"]
    assert isinstance(weights, dict)
    some = next(iter(weights))

    def sized(**sizes: Any) -> Any:
        return kwargs | {"pairs": [*kwargs["pairs"], *([name, size] for name, size in sizes.items())]}

    lies: list[tuple[tuple[str, ...], Any]] = [
        *(
            (("policy_kwargs",), sized(**sizes))
            for sizes in (
                {"depth": 10**9},
                {"dim": 2**40},
                {"seq_len": 2**40},
                {"net_arch": [10**12]},
                {"slots": -1},
                {"heads": "x"},
                {"backend": "flex"},
                {"dim": 32},
                {"nonsense": 1},
            )
        ),
        (("policy_kwargs",), ["a"]),
        (("policy_class",), "os.system"),
        (("policy_class",), {"class": "relu"}),
        (("n_envs",), -1.5),
        (("arguments", "gamma"), "0.9"),
        (("arguments", "n_steps"), True),
        (("arguments", "batch_size"), 0),
        (("schedules", "learning_rate"), {"kind": "eval", "value": "1"}),
        (("counters", "num_timesteps"), None),
        (("weights", some), torch.zeros(1)),
        (("weights",), {}),
        (("optimizer",), {"pairs": []}),
        (("memory_statistics",), {"live_memories": "many"}),
        (("episodes",), 3),
        (("episodes",), ["x"]),
        (("episodes",), [{"r": 0.5, "l": float("nan"), "t": 0.0}]),
        (("episodes",), {"r": np.zeros(2), "l": np.zeros(2, np.int64)}),
        (("episodes", "r"), np.zeros((1, 2))),
        (("episodes", "r"), np.zeros(10**4)),
        (("episodes", "l"), np.full_like(good["episodes"]["r"], np.nan)),
        (("episodes", "l"), good["episodes"]["l"].tolist()),
        (("successes",), [True]),
        (("successes",), np.zeros(3)),
        (("successes",), np.bool_(True)),
        (("kind",), "another"),
        (("observation_space",), checkpoint.space_to_tree(spaces.Discrete(3))),
    ]
    for where, value in lies:
        checkpoint.write(tmp_path / "bad", changed(good, *where, value=value))
        with pytest.raises(CheckpointError) as refused:
            ExpireSpanPPO.load(tmp_path / "bad", device="cpu")
        assert "\n" not in str(refused.value), where
    trainings: list[tuple[tuple[str, ...], Any]] = [
        (("training",), None),
        (("training", "memory"), {"mems": torch.zeros(1)}),
        (("training", "env"), {}),
        (("training", "starts"), np.zeros(3)),
        (("training", "obs"), np.zeros(3)),
        (("training", "obs"), None),
        (("training", "normalization"), {"obs": None, "returns": None, "so_far": None}),
        (("training", "random"), {}),
    ]
    for where, value in trainings:
        checkpoint.write(tmp_path / "bad", changed(good, *where, value=value))
        with pytest.raises(CheckpointError):
            ExpireSpanPPO.resume(tmp_path / "bad", batched(), device="cpu")


def test_numbers_of_numpy_can_be_read_again(tmp_path: Path) -> None:
    """Would catch: a model that trains to its end, and whose file is then refused for the types of its arguments."""
    model = ExpireSpanPPO("MlpPolicy", batched(), policy_kwargs=dict(CORE), **SIZES)
    # The tests' check of types would refuse them as arguments.
    model.policy_kwargs["depth"] = np.int64(2)
    model.n_steps, model.gamma, model.verbose = np.int64(32), np.float32(0.5), True  # type: ignore[assignment]
    model.save(tmp_path / "m")
    loaded = ExpireSpanPPO.load(tmp_path / "m", device="cpu")
    assert (loaded.n_steps, loaded.gamma, loaded.verbose) == (32, 0.5, 1)


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), spaces.Box(-1, 1, (2,))])
@pytest.mark.parametrize("change", [{"use_sde": True}, {"custom_objects": {"use_sde": True}}])
def test_exploration_cannot_change(tmp_path: Path, action_space: spaces.Space[Any], change: dict[str, Any]) -> None:
    """Would catch: an error about SB3's distributions or a weight's shape, that tells one to take another file."""
    env = DummyVecEnv([lambda: ClockEnv(box(3), action_space)])
    new(env).save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"^use_sde can't change when a model is loaded: it has use_sde=False$"):
        ExpireSpanPPO.load(tmp_path / "m", device="cpu", **change)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("logs", [False, True])
def test_a_copy_learns_as_the_original_would(copied: Callable[[Any], Any], logs: bool, tmp_path: Path) -> None:
    """Would catch: a copy whose optimiser steps for ever along the gradient that the original had when it was copied,
    since the program of a minibatch is the original's; one that can't be made after `learn`; one that moves it."""
    model = new(batched())
    if logs:
        model.set_logger(configure(str(tmp_path), ["stdout", "tensorboard"]))
    model.learn(2 * 32 * 4)
    before = model.policy.parameters_to_vector()
    learned = []
    for one in (copied(model), model):
        assert (model.policy.parameters_to_vector() == before).all()
        one.set_random_seed(3)
        one.set_logger(Logger(None, []))
        one.learn(2 * 32 * 4, reset_num_timesteps=False)
        learned.append(one.policy.parameters_to_vector())
    assert (learned[0] == learned[1]).all()
    assert (learned[0] != before).any()


def test_a_copy_explores_on_its_own() -> None:
    """Would catch: a model with gSDE that can't be copied, since its noise hangs on the graph of a gradient."""
    model = new(DummyVecEnv([lambda: ClockEnv(box(3), box(2))] * 4), use_sde=True)
    for _ in range(2):
        one = copy.deepcopy(model)
        assert (one.predict(np.ones((4, 3), np.float32))[0] == model.predict(np.ones((4, 3), np.float32))[0]).all()
        one.learn(32 * 4)
        model.learn(32 * 4)


def test_other_policy_kwargs_than_the_files(tmp_path: Path) -> None:
    """Would catch: a good file that is blamed for arguments that the caller gave, or a damaged one that isn't."""
    model = new(batched())
    model.save(tmp_path / "m")
    wished = model.policy_kwargs | {"dim": 2 * model.policy_kwargs["dim"]}
    with pytest.raises(ValueError, match=r"^policy_kwargs=\{.*\} don't fit the weights of the file, whose are \{"):
        ExpireSpanPPO.load(tmp_path / "m", device="cpu", custom_objects={"policy_kwargs": wished})
    tree = checkpoint.read(tmp_path / "m.safetensors")
    assert isinstance(tree, dict)
    with pytest.raises(CheckpointError):
        ExpireSpanPPO.load(tree | {"weights": {}}, device="cpu", custom_objects={"policy_kwargs": wished})


def test_a_tree_is_nobodys_training(tmp_path: Path) -> None:
    """Would catch: tensors that a tree and the trainings resumed from it share, so that one changes the other."""
    model = new(batched())
    model.learn(2 * 32 * 4)
    model.save_training(tmp_path / "t")
    tree = checkpoint.read(tmp_path / "t.safetensors")
    learned = []
    for _ in range(2):
        resumed, _ = ExpireSpanPPO.resume(tree, batched(), device="cpu")
        resumed.set_logger(Logger(None, []))
        resumed.learn(32 * 4, reset_num_timesteps=False)
        learned.append(dict(resumed.policy.state_dict()))
    assert equal(*learned)


def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    """Would catch: a training that silently goes on in other environments or from the midst of a rollout."""
    model = new(batched())
    with pytest.raises(ValueError, match="no training to save yet"):
        model.save_training(tmp_path / "t")
    model.learn(32 * 4)
    model.save_training(tmp_path / "t")
    other = BatchedVecEnv(make_batched("MiniGrid-MemoryS9-v0", 4, seed=1, agent_view_size=3, max_steps=11))
    with pytest.raises(CheckpointError, match="another task"):
        ExpireSpanPPO.resume(tmp_path / "t", other, device="cpu")

    class Early(BaseCallback):
        def _on_step(self) -> bool:
            with pytest.raises(ValueError, match="within a rollout"):
                model.save_training(tmp_path / "early")
            return True

    model.learn(32 * 4, callback=Early())
    with pytest.raises(ValueError, match="learning_rte"):
        ExpireSpanPPO.load(tmp_path / "t", device="cpu", learning_rte=1e-3)
    assert ExpireSpanPPO.load(tmp_path / "t", device="cpu").rollout_buffer is None, "who only acts needs none"


def test_another_number_of_normalized_environments_is_told(tmp_path: Path) -> None:
    """Would catch: a refusal that leaves open what is wrong with the environments."""
    model = new(pendulums(3))
    model.learn(32 * 3, callback=SaveAt(tmp_path / "t", 0))
    with pytest.raises(CheckpointError, match="VecNormalize is of 2 environments, the checkpoint has 3: make as many"):
        ExpireSpanPPO.resume(tmp_path / "t", pendulums(2), device="cpu")


def test_states_of_no_place_are_refused() -> None:
    """Would catch: a crafted state of a batched environment, which would end in an error of the device, or silently."""
    env = make_batched("MiniGrid-MemoryS7-v0", 2, seed=1)
    env.reset()
    state = env.get_state()
    for wrong in (state._replace(places=state.places + 10**6), state._replace(steps=state.steps - 1)):
        with pytest.raises(ValueError, match="places or steps"):
            env.set_state(wrong)
