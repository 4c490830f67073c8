"""Rollouts of environments that are tensors, and of environments in groups: the same experience by another road."""

import gc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor
from torch.distributions import Distribution

from agents import ExpireSpanActorCriticPolicy, ExpireSpanPPO
from agents.cores import tensors_of
from agents.host_rollout import HostRollout
from agents.rollout import discounted_sums
from agents.tensor_rollout import TensorRollout, tensor_env_of
from envs import make_env
from envs.batched import BatchedVecEnv, make_batched
from envs.workers.vec_env import WorkerVecEnv
from expire_span import Memory
from tests.agents.models import CORES, DEVICES, collect, difference, scale_up

N_ENVS = 6


class Plain(VecEnvWrapper):
    """Hides what environments can do beside SB3's interface."""

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        return self.venv.step_wait()


def model_on(env: VecEnv, device: str = "cpu", core: str = "expire-span", **kwargs: Any) -> ExpireSpanPPO:
    """A small model whose every part is at work."""
    arguments: dict[str, Any] = {
        "n_steps": 32,
        "segment_length": 16,
        "batch_size": 96,
        "seed": 3,
        "compile": False,
        "policy_kwargs": CORES[core],
    } | kwargs
    model = ExpireSpanPPO("MlpPolicy", env, device=device, **arguments)
    model.set_logger(Logger(None, []))
    scale_up(model)
    return model


def batched(device: str = "cpu") -> BatchedVecEnv:
    """Memory tasks that are cut off after 11 steps, so that bootstraps happen at most rollouts' steps."""
    return BatchedVecEnv(make_batched("MiniGrid-MemoryS7-v0", N_ENVS, device, seed=1, agent_view_size=3, max_steps=11))


def kept(model: ExpireSpanPPO) -> list[Tensor]:
    """What a rollout left in the buffer."""
    buffer = model.rollout_buffer
    assert isinstance(buffer.obs, Tensor)
    seen = (buffer.obs, buffer.actions, buffer.episode_starts, *buffer.memory)
    return [part.clone() for part in (*seen, buffer.log_prob, buffer.values, buffer.advantages, buffer.returns)]


@pytest.mark.filterwarnings("ignore:batch_size|slots")
@pytest.mark.parametrize("core", ["expire-span", "lstm"])
def test_tensor_environments_are_the_same_experience(core: str) -> None:
    """Would catch: a bootstrap forgotten, at the wrong step, or seen with the next episode's memory; episode starts
    late by one; observations of before the step; rewards in another order. The host's road is the reference."""
    by_tensors, by_host = model_on(batched(), core=core), model_on(Plain(batched()), core=core)
    for _ in range(3):
        for model in (by_tensors, by_host):
            torch.manual_seed(0)
            collect(model)
        for mine, reference in zip(kept(by_tensors), kept(by_host), strict=True):
            torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)
    assert by_host.ep_info_buffer
    for key in "rl":
        ended = [[episode[key] for episode in model.ep_info_buffer or ()] for model in (by_tensors, by_host)]
        assert ended[0] == pytest.approx(ended[1], abs=1e-5)
    assert by_tensors.ep_success_buffer == by_host.ep_success_buffer
    assert by_tensors.memory_statistics == pytest.approx(by_host.memory_statistics)
    assert isinstance(by_tensors._rollout, TensorRollout)
    assert isinstance(by_host._rollout, HostRollout), "the reference took the same road"


@pytest.mark.filterwarnings("ignore:batch_size|slots")
@pytest.mark.parametrize("core", ["expire-span", "lstm", "gru"])
@pytest.mark.parametrize("device", DEVICES)
def test_ratio_is_one_in_tensor_environments(device: str, core: str) -> None:
    """Would catch: a captured graph that replays old tensors, draws the same numbers, or writes the wrong rows."""
    model = model_on(batched(device), device, core)
    for _ in range(3):
        collect(model)
        assert difference(model) < 1e-4
        model.train()
    starts = model.rollout_buffer.episode_starts.float().mean()
    assert 1 / 12 < starts < 0.5, "episodes of 11 steps at most begin at least so often"
    actions = model.rollout_buffer.actions
    assert not (actions[1:] == actions[:-1]).all(), "every step drew the same actions"


@pytest.mark.filterwarnings("ignore:batch_size|slots")
@pytest.mark.parametrize("core", ["expire-span", "gru"])
@pytest.mark.parametrize("device", DEVICES)
def test_environments_in_groups_are_the_same_experience(device: str, core: str) -> None:
    """Would catch: one group's rows, memory or observations taken for another's, a step lost or done twice. The same
    actions in the same environments, one after the other, must show the same."""
    fns = [lambda: make_env("MiniGrid-MemoryS7-v0", agent_view_size=3, max_steps=11)] * N_ENVS
    env, alone = WorkerVecEnv(fns, n_workers=1, n_groups=2), DummyVecEnv(fns)
    try:
        model = model_on(env, device, core, seed=3)
        alone.seed(3)
        obs: Any = alone.reset()
        for _ in range(2):
            collect(model)
            assert isinstance(model._rollout, HostRollout)
            assert len(model._rollout.groups) == 2
            assert difference(model) < 1e-4
            buffer = model.rollout_buffer
            assert isinstance(buffer.obs, Tensor)
            for step in range(32):
                np.testing.assert_array_equal(buffer.obs[step].cpu().numpy(), obs)
                obs, *_ = alone.step(buffer.actions[step].cpu().numpy())
    finally:
        env.close()
    assert model.num_timesteps == 2 * 32 * N_ENVS


class SilentEnv(gym.Env[np.ndarray, np.ndarray]):
    """Shows the same thing always; each step pays one more than the last."""

    observation_space = spaces.Box(0, 1, (2,), np.float32)
    action_space = spaces.Box(-9, 9, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._paid = 0.0
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._paid += 1
        return np.zeros(2, np.float32), self._paid, False, False, {}


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_each_environment_explores_by_itself() -> None:
    """Would catch: one noise matrix of gSDE for all environments, as SB3 takes where a group has fewer rows than there
    are matrices."""
    env = WorkerVecEnv([SilentEnv] * N_ENVS, n_workers=1, n_groups=2)
    try:
        model = model_on(env, use_sde=True)
        collect(model)
    finally:
        env.close()
    assert len(model.rollout_buffer.actions[0].unique()) == N_ENVS


class Told(BaseCallback):
    """Keeps each step's rewards and dones, as they are handed out."""

    def _on_training_start(self) -> None:
        self.rewards: list[np.ndarray] = []
        self.dones: list[np.ndarray] = []

    def _on_step(self) -> bool:
        self.rewards.append(self.locals["rewards"])
        self.dones.append(self.locals["dones"])
        return True


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_rewards_that_a_callback_keeps_stay() -> None:
    """Would catch: a view of the buffer, which the next rollout overwrites."""
    callback = Told()
    model_on(DummyVecEnv([SilentEnv] * N_ENVS)).learn(2 * 32 * N_ENVS, callback=callback)
    assert [rewards[0] for rewards in callback.rewards] == list(range(1, 65))


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_callbacks_are_told_the_same_of_tensor_environments() -> None:
    """Would catch: dones of a whole rollout in one step, so that `StopTrainingOnMaxEpisodes` counts too few episodes;
    no rewards, or those of another step."""
    of_tensors, of_host = Told(), Told()
    for env, callback in ((batched(), of_tensors), (Plain(batched()), of_host)):
        model = model_on(env, n_epochs=1)
        torch.manual_seed(0)
        model.learn(32 * N_ENVS, callback=callback)
    np.testing.assert_array_equal(of_tensors.dones, of_host.dones)
    np.testing.assert_allclose(of_tensors.rewards, of_host.rewards)
    assert np.sum(of_host.dones) >= 2 * N_ENVS
    told = Told()
    model = model_on(batched())
    model.learn(10**4, callback=[StopTrainingOnMaxEpisodes(3), told])
    assert 3 * N_ENVS <= np.sum(told.dones) < 4 * N_ENVS
    assert len(model.ep_info_buffer or ()) == len(model.ep_success_buffer or ()) == np.sum(told.dones)


class Echo(NamedTuple):
    """A transition of `EchoWorld`."""

    obs: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    final_obs: Tensor
    episode_returns: Tensor
    episode_lengths: Tensor
    is_success: Tensor


class EchoWorld:
    """Environments that are tensors, show the same thing always, and keep the actions that they get."""

    device, identity = torch.device("cpu"), "echo"

    def __init__(self) -> None:
        self.actions: list[Tensor] = []

    def step(self, actions: Tensor) -> Echo:
        self.actions.append(actions.clone())
        obs, zeros = torch.zeros(N_ENVS, 2), torch.zeros(N_ENVS)
        never = torch.zeros(N_ENVS, dtype=torch.bool)
        return Echo(obs, zeros, never, never, obs, zeros, zeros.long(), never)

    def possible_truncations(self, n_steps: int) -> Tensor:
        return torch.zeros(n_steps, dtype=torch.bool)

    def get_state(self) -> None: ...
    def set_state(self, state: None) -> None: ...


@pytest.mark.filterwarnings("ignore:batch_size|slots")
@pytest.mark.parametrize("squashes", [False, True])
def test_tensor_environments_get_actions_as_others_do(squashes: bool) -> None:
    """Would catch: actions beyond a Box's bounds, or still squashed; a noise matrix that is never drawn anew."""
    env = DummyVecEnv([SilentEnv] * N_ENVS)
    env.action_space = spaces.Box(-0.5, 0.25, (1,), np.float32)
    env.tensor_env = world = EchoWorld()  # type: ignore[attr-defined]
    more = {"squash_output": True} if squashes else {}
    model = model_on(env, use_sde=True, sde_sample_freq=1, policy_kwargs=CORES["expire-span"] | more)
    collect(model)
    assert isinstance(model._rollout, TensorRollout)
    got = torch.stack(world.actions[-32:]).numpy()
    raw = model.rollout_buffer.actions
    expected = np.stack([model.policy.to_env_actions(actions) for actions in raw])
    np.testing.assert_array_equal(got, expected)
    assert (got.min(), got.max()) >= (-0.5, -0.5)
    assert got.max() <= 0.25
    if squashes:
        np.testing.assert_allclose(got, -0.5 + 0.75 * (raw.numpy() + 1) / 2, atol=1e-6)
    else:
        assert raw.abs().max() > 0.5, "nothing was clipped"
    assert len(raw[:, 0].unique()) == 32


class Interrupted(BaseCallback):
    """Ctrl-C, in the middle of a rollout."""

    def _on_step(self) -> bool:
        if self.n_calls == 5:
            raise KeyboardInterrupt
        return True


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_an_interrupted_rollout_is_begun_anew() -> None:
    """Would catch: environments in groups that are left in a step, so that a notebook's next `learn` raises."""
    fns = [lambda: make_env("MiniGrid-MemoryS7-v0", agent_view_size=3)] * N_ENVS
    workers = WorkerVecEnv(fns, n_workers=1, n_groups=2)
    for env in (workers, batched(), DummyVecEnv(fns)):
        try:
            model = model_on(env)
            with pytest.raises(KeyboardInterrupt):
                model.learn(10**4, callback=Interrupted())
            model.learn(64 * N_ENVS, reset_num_timesteps=False)
            collect(model)
            assert difference(model) < 1e-4
        finally:
            env.close()


def interrupted(*_: Any) -> None:
    """Ctrl-C, wherever it is called."""
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_what_is_broken_off_amid_a_step_begins_anew() -> None:
    """Would catch: memory that holds a step which the environments haven't done, so that a state is remembered twice;
    an observation that can't be read and is kept for good."""
    tensors, alone = batched(), DummyVecEnv([lambda: make_env("MiniGrid-MemoryS7-v0", agent_view_size=3)] * N_ENVS)
    for env in (tensors, alone):
        model = model_on(env)
        model.learn(32 * N_ENVS)
        rollout = model._rollout
        with pytest.MonkeyPatch.context() as patch:
            if isinstance(rollout, TensorRollout):
                patch.setattr(tensors.tensor_env, "step", interrupted)
            else:
                assert isinstance(rollout, HostRollout)
                patch.setattr(alone, "step_async", interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.learn(32 * N_ENVS, reset_num_timesteps=False)
        assert model._memory is None
        model.learn(32 * N_ENVS, reset_num_timesteps=False)
        collect(model)
        assert difference(model) < 1e-4


class NotANumberAtFirst(SilentEnv):
    """Its first observation of all is none."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        obs, info = super().reset(seed=seed)
        first, self._seen = not hasattr(self, "_seen"), True
        return (obs * np.nan if first else obs), info


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_a_wrong_first_observation_is_not_kept() -> None:
    """Would catch: a model that raises for ever for what was seen once."""
    model = model_on(DummyVecEnv([NotANumberAtFirst] * N_ENVS))
    with pytest.raises(FloatingPointError, match="observation at step 0"):
        model.learn(32 * N_ENVS)
    model.training_tree()  # what was learned before can be saved
    model.learn(32 * N_ENVS, reset_num_timesteps=False)


def test_a_device_is_the_same_with_and_without_its_number() -> None:
    """Would catch: batched environments that are taken for those of another device, and step through the host."""
    env = batched()
    for name in ("cpu", "cpu:0"):
        assert tensor_env_of(env, torch.device(name)) is env.tensor_env
    assert tensor_env_of(env, torch.device("meta")) is None


class Multiplies(BaseCallback):
    """Computes something of its own."""

    def _on_step(self) -> bool:
        self.product = torch.ones(2, 2) @ torch.ones(2, 2)
        self.precision, self.validates = torch.get_float32_matmul_precision(), Distribution._validate_args
        return True


@pytest.mark.filterwarnings("ignore:batch_size|slots")
@pytest.mark.parametrize("make", [batched, lambda: Plain(batched())])
def test_a_callback_computes_as_it_does_elsewhere(make: Callable[[], VecEnv]) -> None:
    """Would catch: an `EvalCallback` in the training's precision, so that it judges another agent than the one that is
    evaluated afterwards."""
    before = torch.get_float32_matmul_precision(), Distribution._validate_args
    callback = Multiplies()
    model_on(make(), precision="bf16").learn(32 * N_ENVS, callback=callback)
    assert callback.product.dtype == torch.float32
    assert (callback.precision, callback.validates) == before


class StopAt(BaseCallback):
    """Stops the training at its n-th step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._stop = step

    def _on_step(self) -> bool:
        return self.n_calls != self._stop


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_stopped_in_mid_rollout_goes_on(recwarn: pytest.WarningsRecorder) -> None:
    """Would catch: groups left waiting for their step, after which nothing can be sent; memory that is lost, or of
    another step than the environments are at."""
    fns = [lambda: make_env("MiniGrid-MemoryS7-v0", agent_view_size=3)] * N_ENVS
    workers = WorkerVecEnv(fns, n_workers=1, n_groups=2)
    for env in (workers, batched()):
        try:
            model = model_on(env)
            model.learn(10**4, callback=StopAt(5))
            assert model.num_timesteps in (5 * N_ENVS, 6 * N_ENVS), "what was in flight is counted too"
            assert isinstance(model._memory, Memory)
            assert (model._memory.elapsed_times.isfinite()).any()
            collect(model)
            assert difference(model) < 1e-4
        finally:
            env.close()


class WatchesMemory(BaseCallback):
    """How many of the empty memories that a first rollout needs are there in its steps."""

    def __init__(self, policy: ExpireSpanActorCriticPolicy, n_steps: int) -> None:
        super().__init__()
        self._n_steps = n_steps
        self.made: list[list[weakref.ref[Tensor]]] = []
        self.alive: set[int] = set()
        make = policy.core.empty_memory

        def watched(batch: int) -> Any:
            memory = make(batch)
            self.made.append([weakref.ref(part) for part in tensors_of(memory)])
            return memory

        policy.core.empty_memory = watched  # type: ignore[method-assign]

    def _on_step(self) -> bool:
        if self.n_calls in (1, self._n_steps):  # a collection takes as long as many steps
            gc.collect()
            self.alive.add(sum(any(part() is not None for part in parts) for parts in self.made))
        return True


@pytest.mark.parametrize("make", [batched, lambda: DummyVecEnv([SilentEnv] * 2)], ids=["batched", "serial"])
def test_the_memory_that_a_rollout_begins_with_is_let_go(make: Callable[[], VecEnv]) -> None:
    """Catches: as much again as all memories take (256 MiB for 4,096 environments), held through the first rollout and
    update by whoever still had the rollout's beginning in a variable."""
    env = make()
    model = model_on(env, core="expire-span")
    watch = WatchesMemory(model.policy, model.n_steps)
    model.learn(model.n_steps * env.num_envs, callback=watch)
    assert watch.alive == {1}, "the rollout's own"


def test_discounted_sums_by_hand() -> None:
    """Would catch: a pass that looks ahead over the end, or doubles the wrong product. y = 1 + 2 (1 + 0 (...)) and so
    on, from the last step back: 4, 1 + 3*4 = 13, 1 + 0*13 = 1, 1 + 2*1 = 3, 1 + 5*3 = 16."""
    terms = torch.tensor([[1.0], [1.0], [1.0], [1.0], [4.0]])
    discounts = torch.tensor([[5.0], [2.0], [0.0], [3.0], [7.0]])
    assert discounted_sums(terms, discounts).flatten().tolist() == [16.0, 3.0, 1.0, 13.0, 4.0]
