"""Returns, advantages and minibatches of a rollout."""

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.rollout import SegmentRolloutBuffer
from expire_span import ExpireSpanCore
from tests.agents.models import clock_model, collect
from tests.agents.worlds import box


def buffer_of(n_steps: int, n_envs: int, segment_length: int, gamma: float, gae_lambda: float) -> SegmentRolloutBuffer:
    core = ExpireSpanCore(8, 1, 2, slots=2)
    device = torch.device("cpu")
    return SegmentRolloutBuffer(n_steps, n_envs, segment_length, box(1), box(1), core, device, gamma, gae_lambda)


def slow_advantages(
    rewards: np.ndarray, values: np.ndarray, starts: np.ndarray, last: np.ndarray, gamma: float, lam: float
) -> np.ndarray:
    """The definition: a sum of discounted residuals up to the episode's end, for each step anew.

    `values` and `starts` have one row more than `rewards`: what comes after the last step.
    """
    n_steps, n_envs = rewards.shape
    advantages = np.zeros((n_steps, n_envs))
    values = np.concatenate((values, last[None]))
    for e in range(n_envs):
        for t in range(n_steps):
            weight = 1.0
            for k in range(t, n_steps):
                ended = starts[k + 1, e]
                following = 0.0 if ended else values[k + 1, e]
                advantages[t, e] += weight * (rewards[k, e] + gamma * following - values[k, e])
                if ended:
                    break
                weight *= gamma * lam
    return advantages


def test_advantages_against_the_definition() -> None:
    """Would catch: an advantage that runs over an episode's end, a shift by one, segments put in the wrong order."""
    gamma, lam, n_steps, n_envs = 0.9, 0.8, 12, 3
    rng = np.random.default_rng(0)
    buffer = buffer_of(n_steps, n_envs, 4, gamma, lam)
    rewards, values = rng.normal(size=(2, n_steps, n_envs)).astype(np.float32)
    starts, last = rng.random((n_steps + 1, n_envs)) < 0.3, rng.normal(size=n_envs).astype(np.float32)
    for t in range(n_steps):
        zeros = torch.zeros(n_envs, 1)
        buffer.store(
            torch.tensor([t]), zeros, torch.tensor(starts[t]), zeros, torch.tensor(values[t]), torch.zeros(n_envs)
        )
    buffer.compute_returns_and_advantage(torch.tensor(rewards), torch.tensor(last), torch.tensor(starts[-1]))
    expected = slow_advantages(rewards, values, starts, last, gamma, lam)

    np.testing.assert_allclose(buffer.advantages.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(buffer.returns.numpy(), expected + values, atol=1e-5)


def test_advantages_by_hand() -> None:
    """Would catch: gamma and lambda in each other's place. Values 0, rewards 0, 0, 1 and then the episode's end: with
    gamma 0.5 and lambda 0.5 the advantages are 1/16, 1/4, 1."""
    buffer = buffer_of(3, 1, 3, 0.5, 0.5)
    buffer.compute_returns_and_advantage(torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([9.0]), torch.tensor([True]))
    assert buffer.advantages.flatten().tolist() == [0.0625, 0.25, 1.0]


def test_minibatches_are_whole_segments_once_each() -> None:
    """Would catch: a segment left out or twice, steps of different segments mixed, the memory of another segment."""
    buffer = buffer_of(6, 4, 3, 0.9, 0.9)
    for t in range(6):
        numbers = torch.arange(4.0) * 100 + t
        memory = ExpireSpanCore(8, 1, 2, slots=2).empty_memory(4)
        memory.mems[0] = numbers[:, None, None]
        buffer.store_memory(t, memory)
        column = numbers[:, None]
        buffer.store(torch.tensor([t]), column, torch.zeros(4, dtype=torch.bool), column, numbers, numbers)
    seen = []
    for batch in map(buffer.minibatch, buffer.shuffled(3)):
        assert isinstance(batch.obs, Tensor)
        firsts = batch.old_values[:, 0]
        assert torch.equal(batch.old_values, firsts[:, None] + torch.arange(3))
        assert torch.equal(batch.obs[..., 0], batch.old_values)
        assert torch.equal(batch.memory[0][0, :, 0, 0], firsts)
        seen += firsts.tolist()
    assert sorted(seen) == [e * 100.0 + t for e in range(4) for t in (0, 3)]


def test_truncated_episodes_are_worth_what_the_next_step_would_have_been() -> None:
    """Would catch: the bootstrap of a time limit that sees the memory after the reset, writes into the memory, is
    taken for terminated episodes too, or values the reset's observation instead of the final one."""
    model = clock_model(gae_lambda=1.0, gamma=0.9)
    finals: dict[tuple[int, int], np.ndarray] = {}
    rewards = np.zeros((32, 3))
    assert model.env is not None
    step_wait, step = model.env.step_wait, 0

    def watched():  # type: ignore[no-untyped-def]
        nonlocal step
        result = step_wait()
        rewards[step] = result[1]
        for e, info in enumerate(result[3]):
            if info.get("TimeLimit.truncated"):
                finals[step, e] = info["terminal_observation"]
        step += 1
        return result

    model.env.step_wait = watched  # type: ignore[method-assign]
    collect(model)
    assert 3 < len(finals) < 25
    buffer, policy = model.rollout_buffer, model.policy
    assert isinstance(buffer.obs, Tensor)
    obs, starts, values = buffer.obs, buffer.episode_starts, buffer.values
    state = policy.initial_state(3)
    with torch.no_grad():
        for t in range(32):
            state = policy.act(obs[t], state, starts[t]).state
            for e in range(3):
                if (t, e) in finals:
                    final = torch.as_tensor(finals[t, e])[None].expand(3, -1)
                    rewards[t, e] += 0.9 * policy.predict_values(final, state)[e].item()
        last = policy.predict_values(
            torch.as_tensor(model._last_obs), state, torch.as_tensor(model._last_episode_starts)
        )[:, 0]
    all_starts = np.concatenate((starts.numpy(), np.asarray(model._last_episode_starts)[None]))
    expected = slow_advantages(rewards, values.numpy(), all_starts, last.numpy(), 0.9, 1.0)
    got = buffer.advantages.numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_memory_statistics_count_what_is_alive() -> None:
    """Would catch: slots counted instead of live memories, the step itself counted, a sum in place of a mean."""
    model = clock_model(policy_kwargs={"spans": "fixed", "max_span": 1000, "slots": 64}, n_envs=2)
    collect(model)
    starts = model.rollout_buffer.episode_starts.numpy()
    age, total = np.zeros(2), 0.0
    for row in starts:
        age = np.where(row, 0, age)
        total += age.sum()
        age += 1
    assert model.memory_statistics["live_memories"] == pytest.approx(total / 64)
    assert model.memory_statistics["evicted_live"] == 0
    assert model.memory_statistics["span_mean"] == 1000
