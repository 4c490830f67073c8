"""Episode statistics as Stable-Baselines3's `Monitor` gives them, without PyTorch, which comes with Monitor."""

import time
from typing import Any, SupportsFloat

import gymnasium as gym

from envs.shapes import as_number
from envs.tasks import make_env


class EpisodeStatistics(gym.Wrapper[Any, Any, Any, Any]):
    """Puts an episode's return `r`, length `l` and end `t` (seconds since this object was made) into its last `info`.

    They are under `episode`, as with Stable-Baselines3's Monitor and to the same digits.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._start = time.perf_counter()
        self._return, self._length = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self._return, self._length = 0.0, 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take one step; the last one's `info` has `episode`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += as_number(reward)
        self._length += 1
        if terminated or truncated:
            seconds = round(time.perf_counter() - self._start, 6)
            info["episode"] = {"r": round(self._return, 6), "l": self._length, "t": seconds}
        return observation, reward, terminated, truncated, info


def make_monitored(env_id: str, **kwargs: Any) -> EpisodeStatistics:
    """`make_env`'s environment with `EpisodeStatistics`.

    Raises:
        ValueError: As `make_env`.
    """
    return EpisodeStatistics(make_env(env_id, **kwargs))
