"""EnvPool's Memory tasks against Farama's, level by level. Skipped where EnvPool isn't installed."""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor

from envs import levels, make_env
from envs.envpool_memory import IDS, EnvPoolVecEnv
from envs.oracles import oracle

S9 = "MiniGrid-MemoryS9-v0"


@pytest.fixture(autouse=True)
def _needs_envpool(request: pytest.FixtureRequest) -> None:
    # These two make none.
    if request.node.originalname not in (
        "test_what_isnt_supported_is_refused",
        "test_without_envpool_the_extra_is_named",
    ):
        pytest.importorskip("envpool")


class _Level:
    """A Python environment at one level, which can be begun again."""

    def __init__(self, seed: int, max_steps: int) -> None:
        self.env, self._seed = make_env(S9, max_steps=max_steps), seed
        self.first = self.begin()

    def begin(self) -> np.ndarray:
        """Its first observation."""
        return np.asarray(self.env.reset(seed=self._seed)[0])


def test_every_episode_is_one_of_minigrid() -> None:
    """Catches: an image that is turned or mirrored, a step lost or added at an episode's end, a last observation of
    the wrong episode, a wrong reward, length, success or truncation.

    Each episode must be, step by step, that of one of the 24 levels of S9 under the same actions.
    """
    steps, max_steps = 300, 15
    ours = EnvPoolVecEnv(S9, 3, n_groups=2, max_steps=max_steps)
    all_levels = [[_Level(seed, max_steps) for seed in levels(S9) or ()] for _ in range(3)]
    rng = np.random.default_rng(0)

    def fitting(i: int, observation: np.ndarray) -> list[_Level]:
        return [level for level in all_levels[i] if (level.begin() == observation).all()]

    observations: Any = ours.reset()
    assert observations[0] in ours.observation_space
    candidates = [fitting(i, observation) for i, observation in enumerate(observations)]
    ends = {"success": 0, "failure": 0, "truncation": 0}
    for _ in range(steps):
        # Forward half the time, or no episode would come to its object.
        actions = rng.choice(3, 3, p=(0.25, 0.25, 0.5))
        observations, rewards, dones, infos = ours.step(actions)
        for i in range(3):
            assert candidates[i]
            left = []
            for level in candidates[i]:
                codes, reward, terminated, truncated, info = level.env.step(actions[i])
                seen = infos[i]["terminal_observation"] if dones[i] else observations[i]
                # EnvPool computes the reward in single precision.
                same = (codes == seen).all() and np.isclose(float(reward), rewards[i], rtol=1e-6, atol=0)
                same &= (terminated or truncated) == dones[i]
                if same and dones[i]:
                    same = info["is_success"] == infos[i]["is_success"]
                    same &= infos[i]["TimeLimit.truncated"] == (truncated and not terminated)
                if same:
                    left.append(level)
            assert left, "no level goes on like this"
            candidates[i] = left
            assert bool(infos[i]) == bool(dones[i])
            if dones[i]:
                assert infos[i]["episode"]["l"] <= max_steps
                assert infos[i]["episode"]["r"] == pytest.approx(float(rewards[i]), abs=1e-6)
                cut = infos[i]["TimeLimit.truncated"]
                ends["truncation" if cut else "success" if infos[i]["is_success"] else "failure"] += 1
                candidates[i] = fitting(i, observations[i])
    ours.close()
    assert min(ends.values()) > 2, ends


def test_success_on_the_last_step_is_a_success() -> None:
    """Catches: a reached goal that is bootstrapped from, as if the episode had gone on."""
    found = _oracle_infos(S9, 8, 40)
    lengths = {info["episode"]["l"] for info in found}
    # With a limit that some of the oracle's episodes need to the last step.
    limit = sorted(lengths)[len(lengths) // 2]
    last = [info for info in _oracle_infos(S9, 8, 60, max_steps=limit) if info["episode"]["l"] == limit]
    reached = [info for info in last if info["is_success"]]
    assert reached
    assert all(info["TimeLimit.truncated"] != info["is_success"] for info in last)


@pytest.mark.parametrize("env_id", IDS)
def test_oracle_always_succeeds(env_id: str) -> None:
    """Catches: an image that isn't MiniGrid's, which leads a policy astray that knows MiniGrid's, or success that is
    misreported."""
    infos = _oracle_infos(env_id, 6, 12)
    assert all(info["is_success"] and not info["TimeLimit.truncated"] for info in infos)


def _oracle_infos(env_id: str, n_envs: int, episodes: int, max_steps: int | None = None) -> list[dict[str, Any]]:
    """The last infos of that many episodes at least, played by the oracle."""
    # The oracle of a Memory task reads nothing of the environment but its kind.
    kind = make_env(env_id)
    env = EnvPoolVecEnv(env_id, n_envs, max_steps=max_steps)
    observations: Any = env.reset()
    policies = [oracle(kind) for _ in range(n_envs)]
    found: list[dict[str, Any]] = []
    while len(found) < episodes:
        actions = np.array([policy(codes) for policy, codes in zip(policies, observations, strict=True)])
        observations, _, dones, infos = env.step(actions)
        for i in np.flatnonzero(dones):
            policies[i] = oracle(kind)
            found.append(infos[i])
    env.close()
    return found


def test_groups_step_by_themselves() -> None:
    """Catches: groups mixed up, and arrays that a later step writes to."""
    rng = np.random.default_rng(0)
    whole, parts = (EnvPoolVecEnv(S9, 7, n_groups=n, max_steps=12, seed=3) for n in (1, 3))
    assert parts.group_slices == [slice(0, 2), slice(2, 4), slice(4, 7)]
    first = whole.reset()
    np.testing.assert_array_equal(first, parts.reset())
    kept: list[Any] = []
    copies: list[Any] = []
    for _ in range(100):
        actions = rng.integers(3, size=7)
        expected: Any = whole.step(actions)
        for group, rows in enumerate(parts.group_slices):
            parts.send(group, actions[rows])
        for group in (2, 0, 1):
            rows = parts.group_slices[group]
            arrays: list[Any]
            *arrays, infos = parts.receive(group)
            for mine, other in zip(arrays, expected[:3], strict=True):
                np.testing.assert_array_equal(mine, other[rows])
                kept.append(mine)
                copies.append(np.copy(mine))
            assert [sorted(info) for info in infos] == [sorted(info) for info in expected[3][rows]]
    for mine, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(mine, copy)


def test_seeds_give_the_same_episodes() -> None:
    """Catches: a seed that is ignored, one shared by all environments, or a reset that goes back to it unasked."""
    env, other = (EnvPoolVecEnv("MiniGrid-MemoryS13Random-v0", 16) for _ in range(2))
    assert env.seed(5) == list(range(5, 21))
    first, second = env.reset(), env.reset()
    other.seed(5)
    np.testing.assert_array_equal(other.reset(), first)
    assert len({image.tobytes() for image in first}) > 4
    assert (second != first).any()


def test_calls_alternate() -> None:
    """Catches: a step waited for though it was never asked for, which would hang, and wrong actions, which EnvPool
    takes for others."""
    env = EnvPoolVecEnv(S9, 2, n_groups=1)
    with pytest.raises(RuntimeError, match="send before reset"):
        env.step(np.zeros(2, np.int64))
    env.reset()
    with pytest.raises(RuntimeError, match=r"receive\(0\) without send"):
        env.receive(0)
    for actions in (np.array([0, 3]), np.array([0, -1]), np.array([0.0, 1.0])):
        with pytest.raises(ValueError, match=r"actions must be 0 \(left\), 1 \(right\) or 2 \(forward\)"):
            env.step(actions)
    with pytest.raises(ValueError, match="must be 2 actions, not 3"):
        env.step(np.zeros(3, np.int64))
    env.send(0, np.zeros(2, np.int64))
    with pytest.raises(RuntimeError, match=r"send\(0\) again"):
        env.send(0, np.zeros(2, np.int64))
    assert env.reset().shape == (2, 7, 7, 3)
    env.close()
    env.close()


def test_what_algorithms_ask_is_answered() -> None:
    """Catches: a second Monitor around this one's statistics, and attributes that seem to be there."""
    env = EnvPoolVecEnv(S9, 2)
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(gym.wrappers.TimeLimit, [0]) == [False]
    assert env.get_attr("render_mode", [1]) == [None]
    assert not env.has_attr("grid")
    with pytest.raises(AttributeError, match="can't call 'render'"):
        env.env_method("render")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"env_id": "MiniGrid-KeyCorridorS3R1-v0"}, "EnvPool has no 'MiniGrid-KeyCorridorS3R1-v0' as we read it"),
        ({"agent_view_size": 3}, "EnvPool breaks with agent_view_size=3: only 7 is supported"),
        ({"n_envs": 0}, "n_envs must be a whole number of at least 1, not 0"),
        ({"n_groups": 0}, "n_groups must be a whole number of at least 1, not 0"),
        ({"n_threads": 0}, "n_threads must be a whole number of at least 1, not 0"),
        ({"max_steps": 0}, "max_steps must be a whole number of at least 1, not 0"),
    ],
)
def test_what_isnt_supported_is_refused(arguments: dict[str, Any], words: str) -> None:
    """Catches: EnvPool's memory corruption with another view, and its long messages."""
    with pytest.raises(ValueError, match=words) as caught:
        EnvPoolVecEnv(**{"env_id": S9, "n_envs": 2, **arguments})
    assert "\n" not in str(caught.value)


def test_without_envpool_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: a bare "No module named 'envpool'"."""
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ImportError, match=r"EnvPool isn't installed: pip install 'expire-span\[envpool\]'"):
        EnvPoolVecEnv(S9, 2)
