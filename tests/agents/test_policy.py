"""`predict` and its state, save and load, and the policy's start."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from agents import ExpireSpanPPO, MiniGridExtractor
from agents.policies import ExpireSpanActorCriticPolicy
from agents.span_coefficient import coefficient, default_budget
from expire_span import ExpireSpanCore, Memory
from tests.agents.models import CORE, clock_model, collect, difference
from tests.agents.worlds import box


def observations(steps: int, n_envs: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(steps, n_envs, 3)).astype(np.float32)


def test_a_state_used_twice_gives_the_same_answer_twice() -> None:
    """Would catch: a `predict` that writes into the state it was given."""
    model, obs = clock_model(), observations(8)
    state = None
    for row in obs[:-1]:
        _, state = model.predict(row, state)
    assert state is not None
    before = [tensor.clone() for tensor in (*state.cache.memory, *state.cache[1:])]
    first, second = (model.predict(obs[-1], state, deterministic=True) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert all(torch.equal(old, new) for old, new in zip(before, (*state.cache.memory, *state.cache[1:]), strict=True))
    assert torch.equal(first[1].cache.keys, second[1].cache.keys)


def test_episode_start_empties_that_environments_memory_alone() -> None:
    """Would catch: a reset of every environment, or of none."""
    model, obs = clock_model(), observations(6)
    policy, state = model.policy, None
    for row in obs[:-1]:
        _, state = model.predict(row, state)
    last, flags = torch.as_tensor(obs[-1]), torch.tensor([True, False])
    with torch.no_grad():
        values = policy.predict_values(last, state, flags)
        fresh, remembering = policy.predict_values(last), policy.predict_values(last, state)
    assert torch.allclose(values, torch.stack((fresh[0], remembering[1])), atol=1e-6)
    assert (fresh - remembering).abs().min() > 1e-3


def test_one_environment_without_a_batch_dimension() -> None:
    """Would catch: actions of shape (1,) for a single observation, as SB3's users don't expect them."""
    model = clock_model()
    action, state = model.predict(observations(1)[0, 0])
    assert np.shape(action) == ()
    action, _ = model.predict(observations(1)[0, 0], state, episode_start=np.array([False]))
    assert np.shape(action) == ()


def test_wrong_states_are_refused() -> None:
    """Would catch: a state broadcast to another number of environments, or an LSTM's state taken for ours."""
    model, obs = clock_model(), observations(1)[0]
    _, state = model.predict(obs)
    with pytest.raises(ValueError, match=r"state is of 2 environments, the observation of 1; pass state=None"):
        model.predict(obs[:1], state)
    with pytest.raises(ValueError, match=r"episode_start has the shape \(3,\); it must be \(2,\)"):
        model.predict(obs, state, np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="another policy's"):
        clock_model(policy_kwargs={"slots": 7}).predict(obs, state)
    with pytest.raises(ValueError, match="state must be what predict returned, or None; got tuple"):
        model.predict(obs, (np.zeros(3),))


def test_a_state_outlives_an_update() -> None:
    """Would catch: keys and values of the weights before the update."""
    model, obs = clock_model(), observations(6)
    state = None
    for row in obs[:-1]:
        _, state = model.predict(row, state)
    collect(model)
    model.train()
    assert state is not None
    by_hand = state._replace(cache=model.policy.core.cache(state.cache.memory))
    last = torch.as_tensor(obs[-1])
    with torch.no_grad():
        assert torch.equal(model.policy.predict_values(last, state), model.policy.predict_values(last, by_hand))
    assert not torch.equal(state.cache.keys, by_hand.cache.keys)


def test_weights_changed_behind_the_policys_back(tmp_path: Path) -> None:
    """Would catch: stale keys and values after a fused optimiser's step, after SB3's `load_from_vector` (neither
    counts up the parameters' versions), or with another policy's state of as many changes."""
    model, obs = clock_model(policy_kwargs={"optimizer_kwargs": {"fused": True}}), observations(6)
    for _ in range(2):
        collect(model)
        assert difference(model) < 1e-4
        model.train()
    state, other = None, clock_model(seed=5)
    for row in obs[:-1]:
        _, state = model.predict(row, state)
    last = torch.as_tensor(obs[-1])
    model.policy.load_from_vector(model.policy.parameters_to_vector() * 1.5)
    for policy in (model.policy, other.policy):
        with torch.no_grad():
            assert state is not None
            by_hand = policy.projected(state.cache.memory)
            assert torch.equal(policy.predict_values(last, state), policy.predict_values(last, by_hand))


Policy = ExpireSpanActorCriticPolicy
COPIES: dict[str, Callable[[Policy], Policy]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda policy: pickle.loads(pickle.dumps(policy)),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("options", [{"fused": True}, {"fused": False, "foreach": True}], ids=["fused", "foreach"])
def test_a_copy_has_weights_of_its_own(copied: Callable[[Policy], Policy], options: dict[str, bool]) -> None:
    """Would catch: stale keys and values after a step of a copied policy's optimiser, whose hooks aren't copied, or
    with a state that the original made with weights which the copy no longer has; and a copy
    that can't be made any more once the policy has been trained."""
    model, obs = clock_model(policy_kwargs={"optimizer_kwargs": options}), observations(6)
    # One that has just been trained holds tensors of a graph, which can't be copied.
    collect(model)
    model.train()
    policy, state = copied(model.policy), None
    for row in obs[:-1]:
        _, state = model.predict(row, state)
    assert state is not None
    own = policy.projected(state.cache.memory)
    at_first = policy.predict_values(torch.as_tensor(obs[-1]), own)
    before, of_original = policy.weights_version(), model.policy.weights_version()
    assert before[0] != of_original[0], "one's state would be taken for the other's"
    torch.stack([parameter.square().sum() for parameter in policy.parameters()]).sum().backward()
    for group in policy.optimizer.param_groups:
        group["lr"] = 0.1
    policy.optimizer.step()
    assert policy.weights_version() != before
    assert model.policy.weights_version() == of_original
    last = torch.as_tensor(obs[-1])
    with torch.no_grad():
        now = policy.predict_values(last, policy.projected(state.cache.memory))
        assert not torch.equal(at_first, now)
        for stale in (state, own):
            assert torch.equal(policy.predict_values(last, stale), now)


def test_programs_are_made_anew_for_weights_that_lie_elsewhere() -> None:
    """Would catch: captured graphs that go on reading where the weights were before `load_from_vector`."""
    model = clock_model()
    collect(model)
    model.train()
    assert model.env is not None
    rollout, gradient = model._rollout, model._gradient
    assert gradient is not None
    assert model._rollout_in(model.env) is rollout
    assert gradient.fits(gradient._settings)
    model.policy.load_from_vector(model.policy.parameters_to_vector())
    assert not gradient.fits(gradient._settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.ppo.HostRollout", None)  # as when there is no memory for another one
        with pytest.raises(TypeError):
            model._rollout_in(model.env)
    assert model._rollout_in(model.env) is not rollout


class LazyExtractor(BaseFeaturesExtractor):
    """Whose weights have no size before the first observation."""

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space, 16)
        self.layer = nn.LazyLinear(16)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """One layer."""
        return self.layer(observations)


def test_weights_that_are_made_late() -> None:
    """Would catch: a look at weights that lie nowhere yet."""
    kwargs = {"features_extractor_class": LazyExtractor, "ortho_init": False}
    clock_model(policy_kwargs=kwargs).learn(2 * 32 * 3)


def test_sizes_that_are_set_once_a_model_has_learned() -> None:
    """Would catch: other `n_steps` that are silently ignored, and no passes at all that end in PyTorch's own error."""
    model = clock_model()
    rollout = model.n_steps * model.n_envs
    model.learn(rollout)
    model.n_steps = 64
    with pytest.raises(ValueError, match=r"n_steps=64 can't change once the model has learned: it was 32; save the"):
        model.learn(rollout, reset_num_timesteps=False)
    model.n_steps, model.n_epochs = 32, 0
    steps = model.num_timesteps
    with pytest.raises(ValueError, match="n_epochs=0 must be a whole number, at least 1"):
        model.learn(rollout, reset_num_timesteps=False)
    assert model.num_timesteps == steps
    model.n_epochs = 1
    model.learn(rollout, reset_num_timesteps=False)
    fresh = clock_model(segment_length=None)
    fresh.n_steps = 24
    fresh.learn(24 * fresh.n_envs)
    assert fresh.rollout_buffer.values.shape == (24, fresh.n_envs)


def test_observations_that_are_no_numbers() -> None:
    """Would catch: SB3's TypeError, that NoneType is not iterable, for MiniGrid's environments and ours as they are."""
    with pytest.raises(ValueError, match=r"^observations\['mission'\] are of a MissionSpace, .*; envs\.make_env"):
        ExpireSpanPPO("MultiInputPolicy", "envs:ExpireSpan/Corridor-v0", device="cpu")


def test_a_stopped_rollout_leaves_memory_and_environments_in_step() -> None:
    """Would catch: an agent that forgets in mid-episode because a callback stopped a rollout there."""
    model = clock_model()
    collect(model)

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            assert self.locals["rewards"].shape == (3,)
            assert {"actions", "clipped_actions", "new_obs", "values", "log_probs", "dones"} <= set(self.locals)
            return self.num_timesteps % 15 != 0

    model.learn(96, callback=Stop(), reset_num_timesteps=False)
    starts = np.asarray(model._last_episode_starts)
    assert not starts.all()
    collect(model)
    memory = model.rollout_buffer.memory
    assert isinstance(memory, Memory)
    first = memory.elapsed_times[0, 0].isfinite().any(-1).numpy()
    assert (first | starts).all(), "an environment in mid-episode remembers nothing"
    assert difference(model) < 1e-4


def test_save_and_load(tmp_path: Path) -> None:
    """Would catch: a setting that isn't saved, weights in the wrong place, a loaded model that can't go on."""
    model, obs = clock_model(policy_kwargs={"slots": 4}, memory_budget=1.5), observations(12)
    collect(model)
    model.train()
    model.save(tmp_path / "model")
    loaded = ExpireSpanPPO.load(tmp_path / "model", env=model.env, device="cpu")
    assert isinstance(loaded.policy.core, ExpireSpanCore)
    assert loaded.policy.core.slots == 4
    assert loaded.span_coef == model.span_coef
    assert callable(loaded.memory_budget)
    assert loaded.memory_budget(0.0) == 1.5
    states = None, None
    for row in obs:
        (one, first), (other, second) = (
            m.predict(row, s, deterministic=True) for m, s in zip((model, loaded), states, strict=True)
        )
        assert (one == other).all()
        states = first, second
    loaded.learn(96, reset_num_timesteps=False)
    assert loaded.num_timesteps == 96 + 96


def test_the_value_head_starts_at_zero() -> None:
    """Would catch: SB3's optimistic start, with which an agent with a sparse reward learns to avoid the goal."""
    env = clock_model().env
    assert env is not None
    model = ExpireSpanPPO("MlpPolicy", env, n_steps=32, policy_kwargs=CORE, device="cpu", batch_size=96)
    assert (model.policy.predict_values(torch.randn(5, 3)) == 0).all()


def test_sizes_that_do_not_fit() -> None:
    """Would catch: a bare traceback of a reshape, or a size changed without a word."""
    with pytest.raises(ValueError, match=r"segment_length=7 doesn't divide n_steps=32; it can be one of \[1, 2, 4, 8"):
        clock_model(segment_length=7)
    with pytest.raises(ValueError, match="batch_size=0 must be a whole number, at least 1"):
        clock_model(batch_size=0)
    with pytest.raises(ValueError, match="n_epochs=0 must be a whole number, at least 1"):
        clock_model(n_epochs=0)
    with pytest.raises(ValueError, match=r"memory_budget=-1\.0 must be a finite number, at least 0"):
        clock_model(memory_budget=-1.0)
    with pytest.warns(UserWarning, match="n_steps=67 can only be cut into segments of 1 steps"):
        clock_model(n_steps=67, segment_length=None)
    with pytest.raises(ValueError, match="heads=3 must divide dim=16"):
        clock_model(policy_kwargs={"heads": 3})
    with pytest.raises(ValueError, match="actor and critic read one memory"):
        clock_model(policy_kwargs={"share_features_extractor": False})
    with pytest.raises(ValueError, match="MultiInputPolicy reads dict observations; for Box"):
        clock_model(policy="MultiInputPolicy")
    env = clock_model().env
    with pytest.warns(UserWarning, match=r"batch_size=20 is rounded to 16: 2 whole segment\(s\) of 8 steps, of 12"):
        ExpireSpanPPO("MlpPolicy", env, n_steps=32, batch_size=20, segment_length=8, policy_kwargs=CORE, device="cpu")
    with pytest.warns(UserWarning, match="slots=5 don't exceed ramp_length=9"):
        ExpireSpanPPO(
            "MlpPolicy", env, n_steps=32, batch_size=32, policy_kwargs=CORE | {"ramp_length": 9}, device="cpu"
        )
    too_long = CORE | {"max_span": 100, "initial_span": 0.05}
    with pytest.warns(UserWarning, match="initial_span=0.05 of max_span=100: spans start at 5 steps, and there are 5"):
        ExpireSpanPPO("MlpPolicy", env, n_steps=32, batch_size=32, policy_kwargs=too_long, device="cpu")


def test_what_no_model_can_have_is_refused_where_it_is_given(tmp_path: Path) -> None:
    """Would catch: a model that trains and saves and can never be read again, a wrong argument to `load` that the file
    is blamed for, and a bare traceback."""
    with pytest.raises(ValueError, match="seq_len=70000 must be at most 65536"):
        clock_model(policy_kwargs={"seq_len": 70_000})
    with pytest.raises(ValueError, match="env=None: a new model needs environments"):
        ExpireSpanPPO("MlpPolicy", None)
    with pytest.raises(ValueError, match="segment_length=True doesn't divide"):
        clock_model(segment_length=True)
    model = clock_model()
    model.save(tmp_path / "model")
    for name, wrong in (("gamma", 2), ("n_steps", 0)):
        with pytest.raises(ValueError, match=f"{name}={wrong} must be"):
            ExpireSpanPPO.load(tmp_path / "model", model.env, custom_objects={name: wrong})
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with pytest.raises(ValueError, match="fp32_precision settings"):
            collect(model)
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")


def test_fixed_spans_and_other_optimisers() -> None:
    """Would catch: a demand on the loss of a core that learns no spans, and two ways of one optimiser at once."""
    model = clock_model(policy_kwargs={"spans": "fixed", "ramp_gradient": False}, read_loss_coef=0.0)
    model.span_coef = 0.5  # as files of before may have it
    collect(model)
    model.train()
    assert model.span_coef == 0
    assert clock_model(policy_kwargs={"optimizer_kwargs": {"foreach": True}}).policy.optimizer.defaults["foreach"]


def test_actions_of_several_dimensions_are_judged_as_they_are_given() -> None:
    """Would catch: an inherited call that refuses the actions of another inherited call."""
    obs = torch.randn(5, 3)
    for shape in ((2, 3), (4,), ()):
        model = clock_model(action_space=spaces.Box(-1, 1, shape))
        actions, values, log_prob = model.policy.forward(obs)
        again, likelihood, _ = model.policy.evaluate_actions(obs, actions)
        torch.testing.assert_close(likelihood, log_prob)
        torch.testing.assert_close(again, values)
        # As SB3's: a target of (n, 1) less a value of (n,) would be (n, n).
        assert values.shape == model.policy.predict_values(obs).shape == (5, 1)


def test_the_segment_length_is_the_greatest_divisor_up_to_64() -> None:
    """Would catch: a script for RecurrentPPO that doesn't run, since 64 doesn't divide its n_steps."""
    env = clock_model().env
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lengths = [
            ExpireSpanPPO("MlpPolicy", env, n_steps=n, policy_kwargs=CORE, device="cpu")._segment_length
            for n in (128, 96, 100, 67)
        ]
    assert lengths == [64, 48, 50, 1]


def test_minigrid_codes_are_names_not_intensities() -> None:
    """Would catch: codes divided by 255 or transposed, one table for all channels, cells that have no place."""
    space = spaces.Box(0, 10, (3, 3, 3), np.uint8)
    extractor = MiniGridExtractor(space, features_dim=8)
    codes = torch.zeros(4, 3, 3, 3, dtype=torch.uint8)
    codes[1, 0, 0, 0], codes[2, 0, 0, 1], codes[3, 1, 0, 0] = 1, 1, 1
    preprocessed = preprocess_obs(codes, space)
    assert isinstance(preprocessed, torch.Tensor)
    features = extractor(preprocessed)
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(features[i], features[j])
    pooled = MiniGridExtractor(space, features_dim=8, pooled=True)
    torch.nn.init.zeros_(next(pooled.linear.parameters()))
    moved = codes.clone()
    moved[1, 0, 0, 0], moved[1, 2, 2, 0] = 0, 1
    before, after = (pooled(part) for part in (codes, moved))
    torch.testing.assert_close(before, after, msg="what is pooled is the same wherever it stands")
    assert not torch.allclose(before[1], before[0], atol=1e-4), "and isn't blind"
    with pytest.raises(ValueError, match="MiniGridExtractor reads MiniGrid's codes"):
        MiniGridExtractor(box(3))
    with pytest.raises(ValueError, match="MiniGridExtractor reads MiniGrid's codes"):
        MiniGridExtractor(spaces.Box(0, 255, (3, 3, 3), np.uint8))


def test_memory_costs_nothing_within_its_budget() -> None:
    """Would catch: a charge while memories fit (spans collapse before they are useful), or one that never comes."""
    assert coefficient(live_memories=7.0, budget=8.0, ceiling=2.0) == 0.0
    assert coefficient(live_memories=12.0, budget=8.0, ceiling=2.0) == 1.0
    assert coefficient(live_memories=16.0, budget=8.0, ceiling=2.0) == 2.0
    assert coefficient(live_memories=99.0, budget=8.0, ceiling=2.0) == 2.0
    assert coefficient(live_memories=0.0, budget=0.0, ceiling=2.0) == 2.0


def test_nothing_is_charged_before_a_task_is_learned(tmp_path: Path) -> None:
    """Would catch: a price while too few episodes succeed or have ended, none once enough do, a condition lost in a
    file, or one that can't be met without a word."""
    model = clock_model(memory_budget=0.0, expire_loss_coef=0.5, forget_at_success=0.75, stats_window_size=4)
    model.save(tmp_path / "model")
    model = ExpireSpanPPO.load(tmp_path / "model", env=model.env, device="cpu")
    collect(model)
    assert model.ep_success_buffer is not None
    prices = {}
    for successes in ((True, True, True), (True, True, True, False), (True, True, False, False)):
        model.ep_success_buffer.clear()
        model.ep_success_buffer.extend(successes)
        model.train()
        prices[successes] = model.span_coef
    assert list(prices.values()) == [0.0, 0.5, 0.0]
    with pytest.raises(ValueError, match="forget_at_success=2 must be a finite number between 0 and 1, or None"):
        clock_model(forget_at_success=2)
    with pytest.warns(UserWarning, match="stats_window_size=2 episodes, of 3 environments: at first the shortest ones"):
        clock_model(forget_at_success=0.5, stats_window_size=2)
    arguments: dict[str, Any] = {"n_steps": 64, "device": "cpu", "forget_at_success": 0.75, "compile": False}
    silent = ExpireSpanPPO("MlpPolicy", "CartPole-v1", policy_kwargs=CORE, memory_budget=0.0, **arguments)
    with pytest.warns(UserWarning, match=r"forget_at_success=0\.75 needs environments that say .* is_success"):
        silent.learn(128)
    assert silent.span_coef == 0


def test_the_budget_by_default_can_be_met() -> None:
    """Would catch: a budget that the ramp alone exceeds, whose price wears away the spans that the reward needs."""

    def budget(slots: int, ramp_length: float) -> float:
        return default_budget(ExpireSpanCore(8, 1, heads=2, slots=slots, ramp_length=ramp_length))

    assert budget(64, 16) == 40
    assert budget(32, 16) == 24
    assert budget(8, 16) == 8
    assert budget(0, 16) == 0
    assert default_budget(nn.Identity()) == 0
    model = clock_model(policy_kwargs={"slots": 10, "ramp_length": 4})
    assert callable(model.memory_budget)
    assert model.memory_budget(1.0) == 7


def test_what_is_remembered_matters() -> None:
    """Would catch: test models whose memory does nothing, so that the tests above couldn't fail."""
    model, obs = clock_model(), observations(8)
    _, state = model.predict(obs[0])
    for row in obs[1:]:
        tensor = torch.as_tensor(row)
        with torch.no_grad():
            difference = model.policy.predict_values(tensor, state) - model.policy.predict_values(tensor)
        assert difference.abs().min() > 1e-3
        _, state = model.predict(row, state)


def test_parameters_frozen_and_of_other_types() -> None:
    """Would catch: a training that ends, or goes on moving a layer, once that layer is frozen between two updates; and
    one whose layers aren't all of one data type."""
    model = clock_model()
    value_net, action_net = model.policy.value_net, model.policy.action_net
    assert isinstance(value_net, nn.Linear)
    assert isinstance(action_net, nn.Linear)
    value_net.double()
    value_net.register_forward_pre_hook(lambda _, given: (given[0].double(),))
    value_net.register_forward_hook(lambda _, __, out: out.float())

    def moved_by_a_rollout() -> list[bool]:
        before = [net.weight.clone() for net in (value_net, action_net)]
        model.learn(96, reset_num_timesteps=False)
        return [not torch.equal(net.weight, old) for net, old in zip((value_net, action_net), before, strict=True)]

    assert moved_by_a_rollout() == [True, True]
    action_net.requires_grad_(False)
    assert moved_by_a_rollout() == [True, False]
    action_net.requires_grad_(True)
    assert moved_by_a_rollout() == [True, True]


def test_a_pickle_of_before_can_act() -> None:
    """Would catch: a policy that was pickled before it had the bounds of actions, and fails at its first."""
    policy = ExpireSpanPPO("MlpPolicy", "Pendulum-v1", policy_kwargs=CORE, device="cpu").policy
    before = copy.deepcopy(policy)
    del before._low, before._high
    after = pickle.loads(pickle.dumps(before))
    obs = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(after.predict(obs, deterministic=True)[0], policy.predict(obs, deterministic=True)[0])
