"""MiniGrid's Memory tasks in EnvPool, which steps them in C++ threads; for Stable-Baselines3.

EnvPool is an extra, `pip install 'expire-span[envpool]'`; nothing here imports it before an object is made.
"""

import importlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import UInt8
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from envs.one_vec_env import OneVecEnv
from envs.wrappers import MAX_CODE

IDS = tuple(f"MiniGrid-Memory{size}-v0" for size in ("S7", "S9", "S11", "S13", "S13Random", "S17Random"))
"""The ids that `EnvPoolVecEnv` knows."""
VIEW = 7
"""The one view size: EnvPool 1.2.5 writes beyond its arrays with any other."""
N_ACTIONS = 3
"""Left, right, forward."""

Images = UInt8[np.ndarray, "n_envs 7 7 3"]


class EnvPoolVecEnv(OneVecEnv):
    """MiniGrid's Memory tasks, observed and acted in as `make_env`'s, with a Monitor's statistics.

    EnvPool begins the next episode a step after the last one's end, and that step does nothing else. Here it is
    taken at once, so that no step is lost or added: as with any `VecEnv`, observations are those of the new episode,
    and the last one's is in `infos`. There, where an episode ends, are `episode` (`r` return, `l` length, `t`
    seconds since this object was made), `is_success`, `terminal_observation` and `TimeLimit.truncated`; elsewhere
    they are empty.

    Levels are drawn alike but differ, seed by seed, from the Python environments'. A success on the very last step
    counts as a success here, though EnvPool reports a truncation; a wrong choice on that step stays a truncation.

    Groups are as `envs.workers.vec_env.WorkerVecEnv` has them: `send` to one and, while it steps, `receive` from
    another.

    Args:
        env_id: One of `IDS`.
        n_envs: Number of environments, at least 1.
        n_groups: Groups, contiguous in index; never more than environments. Default 2.
        n_threads: EnvPool's threads, for each group. Default as many as there are cores, or environments if fewer.
        seed: Environment i is seeded with `seed + i`. Default 0.
        agent_view_size: 7, the only one.
        max_steps: Steps until an episode is cut. Default MiniGrid's, 5 times the square of the task's size.

    Attributes:
        group_slices: Which environments each group has.

    Raises:
        ValueError: In one line, for an id, a view, a size or a number that isn't supported.
        ImportError: In one line, if EnvPool isn't installed.
    """

    def __init__(
        self,
        env_id: str,
        n_envs: int,
        n_groups: int = 2,
        n_threads: int | None = None,
        seed: int = 0,
        agent_view_size: int = VIEW,
        max_steps: int | None = None,
    ) -> None:
        if env_id not in IDS:
            raise ValueError(f"EnvPool has no {env_id!r} as we read it, only {', '.join(IDS)}")
        if agent_view_size != VIEW:
            raise ValueError(f"EnvPool breaks with agent_view_size={agent_view_size}: only {VIEW} is supported")
        numbers = {"n_envs": n_envs, "n_groups": n_groups, "n_threads": n_threads, "max_steps": max_steps}
        for name, value in numbers.items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
        self._envpool = _import_envpool()
        self._settings: dict[str, Any] = {"task_id": env_id, "env_type": "gymnasium", "num_threads": n_threads or 0}
        if max_steps is not None:
            self._settings["max_episode_steps"] = max_steps
        n_groups = min(n_groups, n_envs)
        ends = [n_envs * i // n_groups for i in range(n_groups + 1)]
        self.group_slices = [slice(start, end) for start, end in pairwise(ends)]
        self._pools: list[Any] = []
        self._seed: int | None = seed
        self._pending = [False] * n_groups
        self._ready = False
        self._returns = np.zeros(n_envs, np.float64)
        self._lengths = np.zeros(n_envs, np.int64)
        observations = spaces.Box(0, MAX_CODE, (VIEW, VIEW, 3), np.uint8)
        super().__init__(n_envs, observations, spaces.Discrete(N_ACTIONS))

    def reset(self) -> Images:
        """Start new episodes everywhere, the first ones of the seed if `seed` was called before."""
        for group, pending in enumerate(self._pending):
            if pending:
                self.receive(group)
        if self._seed is not None:
            # EnvPool can't be seeded again, only made anew.
            self._pools = [
                self._envpool.make(num_envs=rows.stop - rows.start, seed=self._seed + rows.start, **self._settings)
                for rows in self.group_slices
            ]
            self._seed = None
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        self._ready = True
        return np.concatenate([pool.reset()[0]["image"] for pool in self._pools])

    def send(self, group: int, actions: np.ndarray) -> None:
        """Start a step of a group.

        Args:
            group: Index of the group.
            actions: One action (0, 1 or 2) for each of its environments; copied.

        Raises:
            ValueError: For other actions.
            RuntimeError: Before `reset`, or if the group's last step hasn't been received.
        """
        if not self._ready:
            raise RuntimeError("send before reset: the environments have no episode yet")
        if self._pending[group]:
            raise RuntimeError(f"send({group}) again: receive({group}) must come before it")
        rows = self.group_slices[group]
        actions = np.asarray(actions)
        if actions.shape != (rows.stop - rows.start,):
            raise ValueError(f"group {group} takes {rows.stop - rows.start} actions, not the shape {actions.shape}")
        if actions.dtype.kind not in "iu" or ((actions < 0) | (actions >= N_ACTIONS)).any():
            raise ValueError("actions must be 0 (left), 1 (right) or 2 (forward)")
        self._pools[group].send(actions.astype(np.int32))
        self._pending[group] = True

    def receive(self, group: int) -> VecEnvStepReturn:
        """Wait for the step that `send` started.

        Returns:
            Observations (uint8), rewards (float32), dones (bool) and infos of the group's environments. The arrays
            are the caller's own: no later step writes to them.

        Raises:
            RuntimeError: If there was no `send`.
        """
        if not self._pending[group]:
            raise RuntimeError(f"receive({group}) without send({group}) before it")
        self._pending[group] = False
        pool, rows = self._pools[group], self.group_slices[group]
        observation, rewards, terminated, truncated, _ = pool.recv()
        images = observation["image"]
        # EnvPool reports no termination on the step that the time limit falls on.
        terminated = terminated | (rewards > 0)
        dones = terminated | truncated
        self._returns[rows] += rewards
        self._lengths[rows] += 1
        infos: list[dict[str, Any]] = [{} for _ in range(len(dones))]
        ended = np.flatnonzero(dones)
        if len(ended):
            returns, lengths = self._returns[rows], self._lengths[rows]
            for i in ended.tolist():
                cut_off = bool(truncated[i] and not terminated[i])
                infos[i] = self.ending(
                    float(returns[i]), int(lengths[i]), bool(rewards[i] > 0), images[i].copy(), cut_off
                )
            self._returns[rows][ended] = 0
            self._lengths[rows][ended] = 0
            images = images.copy()
            images[ended] = _first_images(pool, ended.astype(np.int32))
        return images, rewards, dones, infos

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step of all environments; raises as `send`."""
        if len(actions) != self.num_envs:
            raise ValueError(f"there must be {self.num_envs} actions, not {len(actions)}")
        for group, rows in enumerate(self.group_slices):
            self.send(group, actions[rows])

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step of all environments; returns and raises as `receive`."""
        results = [self.receive(group) for group in range(len(self.group_slices))]
        if len(results) == 1:
            return results[0]
        images, rewards, dones = (np.concatenate([result[part] for result in results]) for part in range(3))
        return images, rewards, dones, [info for result in results for info in result[3]]

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Let the next reset begin with this seed's first episodes; None draws a seed from NumPy's global state.

        Returns:
            The seed of each environment.
        """
        self._seed = self.drawn_seed() if seed is None else int(seed)
        return list(range(self._seed, self._seed + self.num_envs))

    def close(self) -> None:
        """End EnvPool's threads; may be called again."""
        for group, pending in enumerate(self._pending):
            if pending:
                self.receive(group)
        self._pools, self._ready = [], False


def _first_images(pool: Any, ended: np.ndarray) -> Images:
    """The first observations of the next episodes, in the order of `ended`."""
    observation, info = pool.reset(ended)
    images = np.empty((len(ended), VIEW, VIEW, 3), np.uint8)
    images[np.searchsorted(ended, info["env_id"])] = observation["image"]
    return images


def _import_envpool() -> Any:
    try:
        return importlib.import_module("envpool")
    except ImportError as error:
        reason = "" if getattr(error, "name", None) == "envpool" else f" ({' '.join(str(error).split())})"
        raise ImportError(f"EnvPool isn't installed{reason}: pip install 'expire-span[envpool]'") from error
