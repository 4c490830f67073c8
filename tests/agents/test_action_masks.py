"""What may not be done isn't done, in acting, training and prediction."""

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.distributions import make_proba_distribution
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor
from torch import Tensor

from agents import ExpireSpanPPO
from agents.action_masks import choices_of, get_action_masks, has_action_masks, masked_logits
from agents.evaluation import evaluate_policy
from agents.tensor_rollout import TensorRollout
from envs.batched import BatchedVecEnv, make_batched
from envs.workers.vec_env import WorkerVecEnv
from tests.agents.models import CORES, clock_model, collect, difference
from tests.agents.test_collection import Plain, kept, model_on
from tests.agents.worlds import ClockEnv, MaskedClockEnv, box

SPACES = [spaces.Discrete(4), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)]
PARTS = [[4], [2, 3], [2, 2, 2]]
"""Choices in each part of an action of these."""
IDS = ["discrete", "multi-discrete", "multi-binary"]


def violations(model: ExpireSpanPPO) -> int:
    """Choices of the last rollout that its masks forbade."""
    buffer, space = model.rollout_buffer, model.action_space
    assert buffer.action_masks is not None
    parts = buffer.action_masks.split(choices_of(space), dim=-1)
    actions = buffer.actions.long().reshape(*buffer.actions.shape[:2], len(parts))
    taken = [part.gather(-1, actions[..., i, None]) for i, part in enumerate(parts)]
    return int((~torch.cat(taken, dim=-1)).sum())


@pytest.mark.parametrize("core", ["expire-span", "lstm"])
@pytest.mark.parametrize("space", SPACES, ids=IDS)
def test_acting_equals_training_with_masks(space: spaces.Space, core: str) -> None:
    """Would catch: masks stored of another step, in another order, or not applied in training: the ratio wouldn't be 1.
    The environment refuses what its masks forbid."""
    model = clock_model(action_space=space, masked=True, policy_kwargs=CORES[core], n_steps=16)
    for _ in range(2):
        collect(model)
        assert violations(model) == 0
        masks = model.rollout_buffer.action_masks
        assert masks is not None
        assert 0.3 < masks.float().mean() < 0.9
        assert not (masks[1:] == masks[:-1]).all()
        assert difference(model) < 1e-4
        model.train()
        gradients = [parameter.grad for parameter in model.policy.parameters() if parameter.grad is not None]
        assert all(grad.isfinite().all() for grad in gradients)
        assert difference(model) > 1e-4
    model.rollout_buffer.keep_masks(False)
    assert difference(model) > 1e-2, "the masks changed nothing, so the test can't fail"


@contextmanager
def workers(space: spaces.Space, n_envs: int) -> Iterator[WorkerVecEnv]:
    env = WorkerVecEnv([lambda: MaskedClockEnv(box(3), space)] * n_envs, n_workers=2, n_groups=2)
    try:
        yield env
    finally:
        env.close()


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_masks_of_worker_environments() -> None:
    """Would catch: one group's masks taken for another's, or those of before the step."""
    with workers(SPACES[1], 5) as env:
        model = model_on(env)
        for _ in range(2):
            collect(model)
            assert violations(model) == 0
            assert difference(model) < 1e-4
            model.train()


class MaskedTensors:
    """Masks for a batched environment: by turns one of its three actions may not be taken."""

    def __init__(self, n_envs: int) -> None:
        self.calls = torch.arange(n_envs)
        self.nothing = False

    def __call__(self) -> Tensor:
        masks = torch.arange(3) != self.calls[:, None] % 3
        self.calls.add_(1)
        return masks & (not self.nothing)


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_masks_of_tensor_environments() -> None:
    """Would catch: masks of a batched environment that aren't asked for, or by the host's road, one that allows
    nothing, and an agent that can be trained with them but neither judged nor trained on a wrapped vector."""
    tensor_env: Any = make_batched("MiniGrid-MemoryS7-v0", 4, seed=1, agent_view_size=3)
    tensor_env.action_masks = MaskedTensors(4)
    model = model_on(BatchedVecEnv(tensor_env))
    collect(model)
    assert isinstance(model._rollout, TensorRollout)
    assert violations(model) == 0
    assert difference(model) < 1e-4
    evaluate_policy(model, BatchedVecEnv(tensor_env), n_eval_episodes=4)
    model_on(VecMonitor(BatchedVecEnv(tensor_env))).learn(1)
    tensor_env.action_masks.nothing = True
    with pytest.raises(ValueError, match="the action mask of environment 0 allows no action"):
        collect(model)


def distribution(logits: Tensor, masks: Tensor, space: spaces.Space) -> Any:
    made: Any = make_proba_distribution(space)
    return made.proba_distribution(masked_logits(logits, masks, space))


@st.composite
def cases(draw: st.DrawFn) -> tuple[spaces.Space, np.ndarray, np.ndarray]:
    """A space, logits of its distribution, and masks that allow at least one choice in each part."""
    space, parts = draw(st.sampled_from([*zip(SPACES, PARTS, strict=True)]))
    size = len(parts) if isinstance(space, spaces.MultiBinary) else sum(parts)
    logits = draw(st.lists(st.floats(-20, 20, width=32), min_size=size, max_size=size))
    masks = [draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any)) for n in parts]
    return space, np.array(logits, np.float32), np.concatenate(masks)


@settings(max_examples=30)
@given(case=cases())
def test_distributions_by_the_definition(case: tuple[spaces.Space, np.ndarray, np.ndarray]) -> None:
    """Would catch: probabilities that don't sum to 1 over what is allowed, a forbidden choice that is drawn, counts in
    the entropy or gets a gradient, a gradient that isn't a number."""
    space, numbers, mask = case
    logits = torch.tensor(numbers)[None].requires_grad_()
    made = distribution(logits, torch.tensor(mask)[None], space)

    pairs = numbers
    if isinstance(space, spaces.MultiBinary):
        # A bit's one logit is that of 1 against 0.
        pairs = np.stack((np.zeros_like(numbers), numbers), axis=-1).flatten()
    log_prob, entropy, likeliest, start = 0.0, 0.0, [], 0
    for choices in choices_of(space):
        allowed = mask[start : start + choices]
        weights = np.where(allowed, np.exp(pairs[start : start + choices].astype(np.float64)), 0)
        probabilities = weights / weights.sum()
        entropy -= sum(p * np.log(p) for p in probabilities if p > 0)
        likeliest.append(int(probabilities.argmax()))
        log_prob += np.log(probabilities.max())
        start += choices
    actions = torch.tensor([likeliest[0] if isinstance(space, spaces.Discrete) else likeliest])
    actions = actions.float() if isinstance(space, spaces.MultiBinary) else actions
    assert made.log_prob(actions).item() == pytest.approx(log_prob, abs=1e-4)
    assert made.entropy().item() == pytest.approx(entropy, abs=1e-4)

    (grad,) = torch.autograd.grad(made.entropy().sum() + made.log_prob(actions).sum(), logits)
    assert grad.isfinite().all()
    if not isinstance(space, spaces.MultiBinary):
        assert (grad[0, ~torch.tensor(mask)] == 0).all()
    for _ in range(20):
        for action in (made.sample(), made.mode()):
            offsets = np.cumsum([0, *choices_of(space)[:-1]])
            assert mask[offsets + action.detach().numpy().flatten().astype(int)].all()


def test_masks_by_hand() -> None:
    """Would catch: MaskablePPO's order of entries read otherwise: first of a bit, whether it may be 0."""
    logits = torch.log(torch.tensor([[0.1, 0.3, 0.6]]))
    made = distribution(logits, torch.tensor([[True, True, False]]), spaces.Discrete(3))
    assert made.distribution.probs[0].tolist() == pytest.approx([0.25, 0.75, 0])
    assert made.entropy().item() == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))
    bits = torch.tensor([[True, False, False, True, True, True]])
    made = distribution(torch.tensor([[9.0, -9.0, 0.0]]), bits, spaces.MultiBinary(3))
    assert made.distribution.probs[0].tolist() == [0.0, 1.0, 0.5]
    assert made.entropy().item() == pytest.approx(np.log(2))
    made = distribution(torch.zeros(1, 5), torch.tensor([[False, True, True, True, False]]), SPACES[1])
    assert [part.probs[0].tolist() for part in made.distribution] == [[0, 1], [0.5, 0.5, 0]]


@pytest.mark.parametrize("space", SPACES, ids=IDS)
def test_predict_takes_masks(space: spaces.Space) -> None:
    """Would catch: masks that `predict` drops, or takes for other environments; a single environment's, without a batch
    dimension; masks that the state depends on."""
    model = clock_model(action_space=space, masked=True)
    env, state = MaskedClockEnv(box(3), space), None
    obs, _ = env.reset(seed=0)
    for step in range(30):
        masks = get_action_masks(env)
        assert masks.shape == (sum(choices_of(space)),)
        action, state = model.predict(obs, state, deterministic=step % 2 == 0, action_masks=masks)
        obs, *_ = env.step(action)  # which asserts that it may be taken
    vec_env = DummyVecEnv([lambda: MaskedClockEnv(box(3), space)] * 3)
    many: Any = vec_env.reset()
    for _ in range(10):
        actions, _ = model.predict(many, action_masks=get_action_masks(vec_env))
        many, *_ = vec_env.step(actions)


class Stuck(MaskedClockEnv):
    """In environment 1, nothing may be done from the third step on."""

    def __init__(self, number: int) -> None:
        super().__init__(box(3), SPACES[1])
        self._number, self._asked = number, 0

    def action_masks(self) -> np.ndarray:
        self._asked += 1
        return super().action_masks() & ~np.array([False, False, *[self._number == 1 and self._asked > 2] * 3])


class Narrow(MaskedClockEnv):
    def action_masks(self) -> np.ndarray:
        return super().action_masks()[:-1]


class Boxed(ClockEnv):
    def __init__(self) -> None:
        super().__init__(box(3), box(2))

    def action_masks(self) -> np.ndarray:
        return np.ones(2, dtype=bool)


def learn(env: VecEnv, **kwargs: Any) -> ExpireSpanPPO:
    return model_on(env, n_steps=16, batch_size=16 * env.num_envs).learn(1, **kwargs)


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_masks_that_cannot_be() -> None:
    """Would catch: an action drawn at random where none is allowed, masks broadcast over actions, continuous actions
    that are masked as if they were logits, masks that are asked for and silently aren't there."""
    stuck = DummyVecEnv([lambda i=i: Stuck(i) for i in range(3)])  # type: ignore[misc]
    with pytest.raises(ValueError, match="mask of environment 1 allows no action, in part 1 of it: at least one must"):
        learn(stuck)
    narrow = DummyVecEnv([lambda: Narrow(box(3), spaces.Discrete(4))])
    with pytest.raises(ValueError, match=r"mask of environment 0 has 3 entries; Discrete\(4\) needs 4"):
        learn(narrow)
    boxed = DummyVecEnv([Boxed])
    with pytest.raises(ValueError, match=r"for Discrete, MultiDiscrete and MultiBinary actions, not for Box"):
        learn(boxed)
    assert learn(boxed, use_masking=False).rollout_buffer.action_masks is None
    plain = DummyVecEnv([lambda: ClockEnv(box(3), spaces.Discrete(4))])
    assert not has_action_masks(plain)
    with pytest.raises(ValueError, match=r"use_masking=True, but the environment has no method action_masks\(\)"):
        learn(plain, use_masking=True)
    model, obs = learn(plain), np.zeros((1, 3), np.float32)
    with pytest.raises(ValueError, match=r"action masks of 2 environments, and 1 environments"):
        model.predict(obs, action_masks=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match=r"mask of environment 0 allows no action"):
        model.predict(obs[0], action_masks=np.zeros(4, bool))


class Lenient(MaskedClockEnv):
    """Lets everything be done, whatever its masks say."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        result = ClockEnv.step(self, action)
        self._draw_masks()
        return result


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_masks_can_be_left_out_and_taken_up() -> None:
    """Would catch: a buffer or a program that is left from a training with masks, or without."""
    model = model_on(DummyVecEnv([lambda: Lenient(box(3), spaces.Discrete(4))] * 2), n_steps=16, batch_size=32)
    for use_masking in (None, False, True):
        model.learn(64, use_masking=use_masking)
        assert (model.rollout_buffer.action_masks is None) == (use_masking is False)
        collect(model)
        assert difference(model) < 1e-4


@pytest.mark.filterwarnings("ignore:batch_size|slots")
def test_where_nothing_is_forbidden_nothing_changes() -> None:
    """Would catch: masks that draw other random numbers, or move a probability that they leave alone."""

    class Free(ClockEnv):
        def action_masks(self) -> np.ndarray:
            return np.ones(4, dtype=bool)

    rollouts = []
    for kind in (Free, ClockEnv):
        model = model_on(DummyVecEnv([lambda kind=kind: kind(box(3), spaces.Discrete(4))] * 2))  # type: ignore[misc]
        assert model.env is not None
        model.env.seed(0)
        torch.manual_seed(0)
        collect(model)
        rollouts.append(kept(model))
    for mine, reference in zip(*rollouts, strict=True):
        torch.testing.assert_close(mine, reference)


def test_a_wrapped_environment_has_its_masks() -> None:
    """Would catch: masks that are lost behind a wrapper, of Gymnasium or of SB3."""
    env: gym.Env[Any, Any] = gym.wrappers.TimeLimit(MaskedClockEnv(box(3), spaces.Discrete(4)), 5)
    env.reset(seed=0)
    assert has_action_masks(env)
    assert get_action_masks(env).shape == (4,)
    vec_env = Plain(DummyVecEnv([lambda: env]))
    vec_env.reset()
    assert has_action_masks(vec_env)
    assert get_action_masks(vec_env).shape == (1, 4)


def test_the_page_on_masks() -> None:
    """Would catch: an example of docs/action-masks.md that a reader copies and that doesn't run."""
    page = Path(__file__).parents[2] / "docs" / "action-masks.md"
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert names["model"].rollout_buffer.action_masks is not None


@pytest.mark.filterwarnings("ignore:batch_size|slots|.*Monitor")
def test_a_script_of_maskable_ppo() -> None:
    """Would catch: masks that only our own helpers understand: sb3-contrib's wrapper, its `get_action_masks` and its
    evaluation work, and its distributions give the same numbers."""
    maskable = pytest.importorskip("sb3_contrib.common.maskable")
    evaluation = importlib.import_module(f"{maskable.__name__}.evaluation")
    utils = importlib.import_module(f"{maskable.__name__}.utils")
    wrappers = importlib.import_module("sb3_contrib.common.wrappers")
    env = DummyVecEnv([lambda: wrappers.ActionMasker(Lenient(box(3), SPACES[1]), Lenient.action_masks)] * 2)
    model = model_on(env, n_steps=16, batch_size=32).learn(32, use_masking=True)
    assert violations(model) == 0
    assert (utils.get_action_masks(env) == get_action_masks(env)).all()
    evaluation.evaluate_policy(model, env, n_eval_episodes=2)

    theirs = importlib.import_module(f"{maskable.__name__}.distributions")
    for space, parts in zip(SPACES[:2], PARTS[:2], strict=True):
        logits, masks = torch.randn(6, sum(parts)), torch.rand(6, sum(parts)) < 0.5
        masks[:, np.cumsum([0, *parts[:-1]])] = True
        ours, reference = distribution(logits, masks, space), theirs.make_masked_proba_distribution(space)
        reference.proba_distribution(logits).apply_masking(masks)
        actions = ours.sample()
        torch.testing.assert_close(ours.log_prob(actions), reference.log_prob(actions))
        torch.testing.assert_close(ours.entropy(), reference.entropy())


def test_masks_of_some_environments_name_the_right_one() -> None:
    """Catches: numbers counted on from the first of them, a plain number, or none at all, that ends in a TypeError."""

    class Masked(gym.Env[np.ndarray, np.int64]):
        observation_space, action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(2)

        def __init__(self, allowed: bool) -> None:
            self._allowed = allowed

        def action_masks(self) -> np.ndarray:
            """Everything, or nothing."""
            return np.full(2, self._allowed)

    env = DummyVecEnv([partial(Masked, allowed) for allowed in (False, True, True)])
    with pytest.raises(ValueError, match="environment 0 allows no action"):
        get_action_masks(env, [2, 0])
    assert get_action_masks(env, 1).tolist() == [[True, True]]
    assert get_action_masks(env, []).shape == (0, 2)
