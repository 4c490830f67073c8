"""The engine: seeds and levels, what a step may do, state, time limits, arguments."""

import re
from collections import Counter
from typing import Any

import gymnasium as gym
import jaxtyping
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from envs import CORRIDOR, ENDLESS_TMAZE, MEMORY
from envs.batched import BatchedEnv, batched_ids, has_batched, make_batched
from envs.batched.corridor import CorridorTask
from envs.batched.counter_random import NEXT_EPISODE, NEXT_PART, stream_keys
from envs.batched.endless_tmaze import EndlessTMazeTask
from envs.batched.lengths import length_probabilities
from envs.batched.memory import MemoryTask
from envs.batched.walk import AHEAD, VARIANT

IDS = ["MiniGrid-MemoryS13Random-v0", CORRIDOR, ENDLESS_TMAZE]


def _short(env_id: str, n_envs: int, seed: int = 0) -> BatchedEnv:
    return make_batched(env_id, n_envs, seed=seed, max_steps=40)


def _keys(n_envs: int, seed: int = 0, episode: int = 0) -> torch.Tensor:
    return stream_keys(seed, n_envs, torch.device("cpu")) + NEXT_EPISODE * torch.tensor(episode)


def _actions(env: BatchedEnv, steps: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.choice(3, size=(steps, env.n_envs), p=(0.15, 0.15, 0.7)))


@pytest.mark.parametrize("env_id", IDS)
def test_episodes_depend_on_seed_index_and_number_alone(env_id: str) -> None:
    """Catches: levels that change with the batch size, with the actions, or with when the others end."""
    few, many = _short(env_id, 3, seed=7), _short(env_id, 50, seed=1)
    few.reset()
    many.reset(seed=7)
    for number in range(4):
        assert torch.equal(few.get_state().places, many.get_state().places[:, :3])
        expected = few.task.start(_keys(3, seed=7, episode=number))
        assert torch.equal(few.get_state().places, expected)
        # One ends its episodes by turning on the spot, the other by a reset.
        for _ in range(few.max_steps):
            step = few.step(torch.zeros(3, dtype=torch.int64))
        assert bool(step.truncated.all())
        many.step(torch.full((50,), 2))
        many.reset()


@pytest.mark.parametrize("env_id", IDS)
def test_same_seed_same_run_other_seed_another(env_id: str) -> None:
    """Catches: a seed without effect, randomness from elsewhere."""
    runs = []
    for seed in (3, 3, 4):
        env = _short(env_id, 16)
        steps = [env.reset(seed=seed)] + [env.step(actions).obs for actions in _actions(env, 60)]
        runs.append(torch.stack(steps))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_seeds_of_any_size() -> None:
    """Catches: an overflow for the seeds that NumPy's seed sequences give."""
    starts = {make_batched(CORRIDOR, 4, seed=seed).reset().numpy().tobytes() for seed in (0, -1, 2**63, 2**100 + 1)}
    assert len(starts) > 1


def _assert_frequencies(counts: Counter[Any], expected: dict[Any, float], n: int) -> None:
    """Each count within 4 standard deviations, and Pearson's statistic within 4 of its own. Fixed seeds."""
    assert set(counts) <= set(expected)
    statistic = 0.0
    for outcome, probability in expected.items():
        deviation = (n * probability * (1 - probability)) ** 0.5
        assert abs(counts[outcome] - n * probability) < 4 * deviation + 1, outcome
        statistic += (counts[outcome] - n * probability) ** 2 / (n * probability)
    freedom = len(expected) - 1
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5


def test_memory_levels_have_minigrids_distribution() -> None:
    """Catches: levels drawn alike often, where MiniGrid draws the hallway's end first and then the start."""
    task = make_batched("MiniGrid-MemoryS13Random-v0", 1).task
    assert isinstance(task, MemoryTask)
    n = 40_000
    numbers = {start: number for number, start in enumerate(task.starts.tolist())}
    places = task.start(_keys(n))[0].tolist()
    counts = Counter(task.levels[numbers[place]] for place in places)
    # hallway_end from 4 to 10, start from 1 to hallway_end, two kinds, two orders.
    expected = {
        (end, start, kind, order): 1 / (7 * end * 4)
        for end in range(4, 11)
        for start in range(1, end + 1)
        for kind in range(2)
        for order in range(2)
    }
    _assert_frequencies(counts, expected, n)


@pytest.mark.parametrize("distribution", ["log-uniform", "uniform"])
def test_corridor_levels_have_the_python_distribution(distribution: str) -> None:
    """Catches: an off-by-one in the lengths, a variant more often than the others, length and variant dependent."""
    task = make_batched(CORRIDOR, 1, max_length=12, length_distribution=distribution).task
    assert isinstance(task, CorridorTask)
    n = 40_000
    places = torch.cat([task.start(_keys(n // 4, seed=1, episode=number)) for number in range(4)], dim=1)
    counts = Counter(zip(places[AHEAD].tolist(), places[VARIANT].tolist(), strict=True))
    lengths = range(3, 13)
    share = {length: 1 / 10 for length in lengths}
    if distribution == "log-uniform":
        share = {length: np.log((length + 1) / length) / np.log(13 / 3) for length in lengths}
    _assert_frequencies(counts, {(length, v): share[length] / 4 for length in lengths for v in range(4)}, n)


def test_log_uniform_probabilities_are_those_of_the_draw() -> None:
    """Catches: a formula that isn't `floor(exp(U(ln min, ln(max + 1))))`."""
    exponents = np.random.default_rng(0).uniform(np.log(3), np.log(21), 100_000)
    shares = np.bincount(np.exp(exponents).astype(int), minlength=21)[3:] / 100_000
    np.testing.assert_allclose(shares, length_probabilities(3, 20, "log-uniform"), atol=0.005)


def test_corridors_of_the_tmaze_are_independent() -> None:
    """Catches: corridors of an episode that repeat, or that resemble those of the next episode or environment."""
    task = make_batched(ENDLESS_TMAZE, 1, max_length=6).task
    assert isinstance(task, EndlessTMazeTask)
    n = 20_000
    keys = _keys(n, seed=2)
    for shift in (NEXT_PART, NEXT_EPISODE):
        here, there = task.start(keys), task.start(keys + shift)
        pairs = map(tuple, torch.stack((here[AHEAD], here[VARIANT], there[AHEAD], there[VARIANT]), dim=1).tolist())
        expected = {
            (length, cue, next_length, next_cue): 1 / 64
            for length in range(3, 7)
            for cue in range(2)
            for next_length in range(3, 7)
            for next_cue in range(2)
        }
        _assert_frequencies(Counter(pairs), expected, n)


class _Operations(TorchDispatchMode):
    """Notes what PyTorch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("env_id", IDS)
def test_a_step_never_waits_for_the_host(env_id: str) -> None:
    """Catches: a number read on the host, a shape that depends on data, a tensor made of Python's numbers."""
    env = _short(env_id, 4)
    env.reset()
    with _Operations() as operations:
        env.step(torch.zeros(4, dtype=torch.int64))
    forbidden = (
        "_local_scalar_dense",
        "nonzero",
        "lift_fresh",
        "masked_select",
        "aten.index.Tensor",
        "_to_copy.device",
    )
    assert not [name for name in operations.names if any(word in name for word in forbidden)]


@pytest.mark.parametrize("env_id", IDS)
def test_compiled_whole_it_does_the_same(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a graph break, or a state that isn't updated in place."""
    torch._dynamo.reset()
    plain, compiled = _short(env_id, 8), _short(env_id, 8)
    # The checks of shapes can't be compiled.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    step = torch.compile(compiled.step, fullgraph=True, backend="aot_eager")
    assert torch.equal(plain.reset(), compiled.reset())
    for actions in _actions(plain, 100):
        for ours, theirs in zip(plain.step(actions), step(actions), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("env_id", IDS)
def test_state_stays_in_its_tensors_and_out_of_the_results(env_id: str) -> None:
    """Catches: a rebound tensor, which a CUDA graph's replay would not see; a result that the next step changes."""
    env = _short(env_id, 8)
    env.reset()
    tensors = {name: value for name, value in vars(env).items() if isinstance(value, torch.Tensor)}
    assert len(tensors) == len(env.get_state())
    pointers = {name: value.data_ptr() for name, value in tensors.items()}
    results = []
    for actions in _actions(env, 50):
        step = env.step(actions)
        results.append((step, [tensor.clone() for tensor in step]))
    env.reset(seed=1)
    assert {name: vars(env)[name].data_ptr() for name in pointers} == pointers
    for step, copies in results:
        for tensor, copy in zip(step, copies, strict=True):
            assert torch.equal(tensor, copy)


@pytest.mark.parametrize("env_id", IDS)
def test_a_restored_state_goes_on_alike(env_id: str) -> None:
    """Catches: state that isn't saved: the episode's number, the steps, the return."""
    env, other = _short(env_id, 8), _short(env_id, 8, seed=9)
    env.reset()
    actions = _actions(env, 150)
    for row in actions[:75]:
        env.step(row)
    state = env.get_state()
    expected = [env.step(row) for row in actions[75:]]
    other.reset()
    other.set_state(state)
    for row, step in zip(actions[75:], expected, strict=True):
        for ours, theirs in zip(other.step(row), step, strict=True):
            assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match=r"state.places must have the shape"):
        _short(env_id, 3).set_state(state)


@pytest.mark.parametrize("env_id", IDS)
def test_possible_truncations(env_id: str) -> None:
    """Catches: a step in which an episode was cut off, but that was said to be impossible; all said possible."""
    env = make_batched(env_id, 5, max_steps=12)
    env.reset()
    rng = np.random.default_rng(0)
    surprises = spared = 0
    for _ in range(60):
        possible = env.possible_truncations(7)
        assert possible.shape == (7,)
        spared += int((~possible).sum())
        for j in range(7):
            step = env.step(torch.from_numpy(rng.choice(3, size=5, p=(0.1, 0.1, 0.8))))
            surprises += bool(step.truncated.any()) and not bool(possible[j])
    assert surprises == 0
    assert spared > 100


def test_possible_truncations_by_hand() -> None:
    """Catches: an off-by-one. Of 5 steps 2 are taken, so the third from now is the last; from the fifth on any."""
    env = make_batched(CORRIDOR, 2, max_steps=5)
    env.reset()
    for _ in range(2):
        env.step(torch.zeros(2, dtype=torch.int64))
    assert env.possible_truncations(8).tolist() == [False, False, True, False, True, True, True, True]
    assert env.possible_truncations(2).tolist() == [False, False]


def test_which_ids_have_a_batched_version() -> None:
    """Catches: an id forgotten, an id that can't be made, a package imported for the list."""
    memory = [env_id for env_id in gym.registry if env_id.startswith("MiniGrid-Memory")]
    assert batched_ids() == sorted([*memory, MEMORY, CORRIDOR, ENDLESS_TMAZE])
    for env_id in batched_ids():
        assert has_batched(env_id)
        env = make_batched(env_id, 2)
        assert env.reset().numpy() in gym.spaces.Box(0, 10, (2, *env.observation_space.shape), np.uint8)
        assert env.action_space == gym.spaces.Discrete(3)
    assert not has_batched("CartPole-v1")
    assert not has_batched("no-such-id")


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("CartPole-v1", {}, "CartPole-v1 has no batched version; these have one: ExpireSpan/Corridor-v0, "),
        ("MiniGrid-KeyCorridorS3R1-v0", {}, "has no batched version"),
        ("MiniGrid-MemoryS9", {}, "did you mean MiniGrid-MemoryS9-v0"),
        (CORRIDOR, {"n_envs": 0}, "n_envs must be at least 1, not 0"),
        (CORRIDOR, {"min_length": 2}, "min_length must be at least agent_view_size (3)"),
        (CORRIDOR, {"max_lenght": 9}, "did you mean max_length"),
        (MEMORY, {"size": 8}, "size of a Memory task must be odd and at least 7, not 8"),
        (MEMORY, {"agent_view_size": 4}, "agent_view_size must be odd and at least 3, not 4"),
        (MEMORY, {"render_mode": "rgb_array"}, "a batched environment doesn't render"),
        (MEMORY, {"max_episode_steps": 9}, "give max_steps"),
        (MEMORY, {"max_steps": 0}, "max_steps must be at least 1, not 0"),
        (MEMORY, {"device": "tpu9"}, "no device 'tpu9'"),
    ],
)
def test_errors_are_one_line(env_id: str, kwargs: dict[str, Any], message: str) -> None:
    """Catches: a batch of something else than what was asked for, or a traceback for a user's slip."""
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        make_batched(env_id, **{"n_envs": 2, **kwargs})
    assert "\n" not in str(error.value)
