"""What vector environments have in common that are one object, not a list of environments."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

Indices = None | int | Iterable[int]


class OneVecEnv(VecEnv):
    """Environments none of which can be asked, set or called by itself, with a Monitor's statistics in `infos`.

    Args:
        n_envs: Number of environments.
        observations: Space of one observation.
        actions: Space of one action.
    """

    def __init__(self, n_envs: int, observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
        self._start = time.perf_counter()
        super().__init__(n_envs, observations, actions)

    def ending(self, r: float, length: int, success: bool, observation: np.ndarray, truncated: bool) -> dict[str, Any]:
        """The `info` of an episode's last step.

        Args:
            r: Return, undiscounted.
            length: Steps.
            success: Whether it was one.
            observation: The last one, before the reset.
            truncated: Whether it was cut off.
        """
        seconds = round(time.perf_counter() - self._start, 6)
        return {
            "episode": {"r": round(r, 6), "l": length, "t": seconds},
            "is_success": success,
            "terminal_observation": observation,
            "TimeLimit.truncated": truncated,
        }

    def drawn_seed(self) -> int:
        """A seed from NumPy's global state, with room for one more an environment."""
        return int(np.random.randint(0, 2**31 - 1 - self.num_envs))  # noqa: NPY002

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """`render_mode`, which is None; there are no other attributes.

        Raises:
            AttributeError: For any other.
        """
        if attr_name != "render_mode":
            raise AttributeError(f"{type(self).__name__} has no attribute {attr_name!r} for each environment")
        return [None for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Refused.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(f"can't set {attr_name!r}: the environments of a {type(self).__name__} are one object")

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Refused.

        Raises:
            AttributeError: Always.
        """
        raise AttributeError(f"can't call {method_name!r}: the environments of a {type(self).__name__} are one object")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """True for `Monitor`, whose statistics are in `infos`, and False for anything else."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """No frames."""
        return [None] * self.num_envs
