"""What every environment of `make_env` must do. A new environment's test inherits it:

class TestMyTask(EnvironmentConformance):
    env_id = "ExpireSpan/MyTask-v0"
    kwargs = {"size": 5}
    n_actions = 3
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from minigrid.minigrid_env import MiniGridEnv
from stable_baselines3.common.preprocessing import is_image_space

from envs import make_env
from envs.oracles import memoryless_control, oracle, play

ORACLE_EPISODES = 40
CONTROL_EPISODES = 150


class EnvironmentConformance:
    """Inherited tests; `chance` is how often the control of `envs.oracles` is expected to succeed."""

    env_id: ClassVar[str]
    kwargs: ClassVar[Mapping[str, Any]] = {}
    n_actions: ClassVar[int] = 3
    chance: ClassVar[float] = 0.5
    control_episodes: ClassVar[int] = CONTROL_EPISODES

    @pytest.fixture
    def env(self) -> gym.Env[Any, Any]:
        return make_env(self.env_id, **self.kwargs)

    def test_check_env(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Catches: spaces, seeding, returned types or rendering that break Gymnasium's contract."""
        # The check renders in every mode, "human" too, for which MiniGrid opens a window and seeks a font.
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        env = make_env(self.env_id, **self.kwargs, render_mode="rgb_array")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="The system font")
            # It asks for the bare environment, but what the agents see is ours.
            warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
            check_env(env.unwrapped)
            check_env(env, skip_render_check=True)
        frame: Any = env.render()
        assert isinstance(frame, np.ndarray)
        assert frame.dtype == np.uint8
        assert frame.ndim == 3

    def test_spaces(self, env: gym.Env[Any, Any]) -> None:
        """Catches: SB3 taking the codes for an image, to divide by 255 and transpose; a useless action."""
        view = base_of(env).agent_view_size
        assert env.observation_space == spaces.Box(0, 10, (view, view, 3), np.uint8)
        assert env.action_space == spaces.Discrete(self.n_actions)
        assert not is_image_space(env.observation_space)
        assert not is_image_space(env.observation_space, check_channels=True)

    def test_random_steps_stay_in_the_spaces(self, env: gym.Env[Any, Any]) -> None:
        """Catches: codes out of bounds, `is_success` before the end or missing at it, success without reward."""
        rng = np.random.default_rng(1)
        codes, info = env.reset(seed=1)
        assert "is_success" not in info
        for _ in range(600):
            assert codes in env.observation_space
            codes, reward, terminated, truncated, info = env.step(rng.integers(self.n_actions))
            ended = terminated or truncated
            assert ("is_success" in info) == ended
            reward = float(reward)
            assert reward == 0 or terminated
            if ended:
                assert info["is_success"] is (terminated and reward > 0)
                codes, info = env.reset()

    def test_same_seed_same_episode(self, env: gym.Env[Any, Any]) -> None:
        """Catches: randomness outside `np_random`, or state that survives a reset."""
        other = make_env(self.env_id, **self.kwargs)
        other.reset(seed=5)
        for seed in range(10):
            actions = np.random.default_rng(seed).integers(self.n_actions, size=30)
            np.testing.assert_array_equal(env.reset(seed=seed)[0], other.reset(seed=seed)[0])
            for action in actions:
                (codes, *rest), (other_codes, *other_rest) = env.step(action), other.step(action)
                np.testing.assert_array_equal(codes, other_codes)
                assert rest == other_rest
                if rest[1] or rest[2]:
                    break

    def test_time_limit_ends_without_success(self, env: gym.Env[Any, Any]) -> None:
        """Catches: an episode that never ends, or a time-out counted as a success."""
        env.reset(seed=0)
        base = base_of(env)
        base.step_count = base.max_steps - 2
        assert env.step(0)[2:4] == (False, False)
        *_, terminated, truncated, info = env.step(0)
        assert (terminated, truncated, info["is_success"]) == (False, True, False)

    def test_oracle_always_succeeds(self, env: gym.Env[Any, Any]) -> None:
        """Catches: levels that can't be solved, or a reward for the wrong thing."""
        for seed in range(ORACLE_EPISODES):
            assert play(env, oracle, seed).success, f"seed {seed}"

    def test_memoryless_control_stays_at_chance(self, env: gym.Env[Any, Any]) -> None:
        """Catches: a side, colour or object that is right more often than chance. Fixed seeds: never flaky."""
        n = self.control_episodes
        successes = sum(play(env, memoryless_control, seed).success for seed in range(1000, 1000 + n))
        low, high = binomial_bounds(n, self.chance)
        assert low <= successes <= high


def base_of(env: gym.Env[Any, Any]) -> MiniGridEnv:
    """The MiniGrid environment under our wrapper."""
    base = env.unwrapped
    assert isinstance(base, MiniGridEnv)
    return base


def binomial_bounds(n: int, p: float, tail: float = 0.0005) -> tuple[int, int]:
    """Fewest and most successes in `n` trials of chance `p` that leave out less than `tail` at either end."""
    probabilities = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    low, high = 0, n
    while sum(probabilities[: low + 1]) < tail:
        low += 1
    while sum(probabilities[high:]) < tail:
        high -= 1
    return low, high
