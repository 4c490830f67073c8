"""Memory Gym's environments, so that several live in one process and say whether they were solved."""

from typing import Any, SupportsFloat

import gymnasium as gym


class MemoryGymEpisodes(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Puts `is_success` into the last step's `info`, and closes without an end to all the others.

    An episode is a success if the environment's own `success` says so and the last step was rewarded: Mortar Mayhem
    says so, too, where the last of its commands was failed. The endless environments have no success, and no end but
    failure.

    All of a process draw on one screen, each a whole picture at every step; closing any would end pygame for all, so
    that only a window is closed here.

    Args:
        env: An environment of Memory Gym.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._has_success = not type(env.unwrapped).__name__.startswith("Endless")

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take one step; the last one's `info` has `is_success`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._has_success and (terminated or truncated):
            info["is_success"] = bool(info.get("success", False)) and float(reward) > 0
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Close the window, if there is one."""
        window = getattr(self.env.unwrapped, "debug_window", None)
        if window is not None:
            window.destroy()
