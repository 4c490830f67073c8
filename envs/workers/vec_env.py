"""Environments in a few worker processes, for Stable-Baselines3."""

import math
import multiprocessing
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from envs.workers.arrays import SharedArrays, make_file
from envs.workers.episodes import EpisodeStatistics
from envs.workers.handle import Handle, failed, shut_down
from envs.workers.process import CALL, Failure, full_name, pickled

EnvFn = Callable[[], gym.Env[Any, Any]]
Indices = None | int | Iterable[int]


class WorkerVecEnv(VecEnv):
    """Environments divided over worker processes, which share their arrays with this one.

    Each worker steps many environments, one after the other, so that their number isn't bound to that of cores.
    Results are those of Stable-Baselines3's `DummyVecEnv`: an environment whose episode ends is reset in the same
    step, with the last observation under `terminal_observation` of its info.

    The environments are also divided into groups, contiguous in index, of which one can step while the caller
    thinks about another:

        for group in range(len(env.group_slices)):
            env.send(group, first_actions[group])
        while True:
            for group in range(len(env.group_slices)):
                observations, rewards, dones, infos = env.receive(group)
                env.send(group, choose(observations))

    Every worker has its share of each group, so that all are busy whichever group it is.

    Args:
        env_fns: Make the environments, in the workers. Pickled with cloudpickle; functions that import PyTorch make
            each worker larger by its 200 MB.
        n_workers: Processes; never more than environments. Default one less than the cores that this
            process may use, and at least 2: the caller wants one, too.
        n_groups: Groups; never more than environments. Default 2.
        start_method: Of multiprocessing. Default `forkserver`, or `spawn` where there is none; a script must then
            start workers under `if __name__ == "__main__":`.
        step_timeout: Seconds that one environment may take for its construction, a reset or a step. Default 300.

    Attributes:
        group_slices: Which environments each group has.

    Raises:
        ValueError: If there are no environments, no workers, no groups or no time, if environments differ in their
            spaces, or if spaces are other than Box, Discrete, MultiDiscrete, MultiBinary or, for observations, a flat
            Dict.
        EnvironmentFault: If an environment can't be made, or not in time, with its index, and the traceback as a note.
    """

    def __init__(
        self,
        env_fns: Sequence[EnvFn],
        n_workers: int | None = None,
        n_groups: int = 2,
        start_method: str | None = None,
        step_timeout: float = 300.0,
    ) -> None:
        n_envs = len(env_fns)
        n_workers = max(2, cores() - 1) if n_workers is None else n_workers
        if n_envs < 1:
            raise ValueError("env_fns must make at least one environment")
        if n_workers < 1:
            raise ValueError(f"n_workers must be at least 1, not {n_workers}")
        if not 1 <= n_groups < CALL:
            raise ValueError(f"n_groups must be between 1 and {CALL - 1}, not {n_groups}")
        if not 0 < step_timeout < math.inf:
            raise ValueError(f"step_timeout must be a number of seconds above 0, not {step_timeout}")
        groups = shares(range(n_envs), min(n_groups, n_envs))
        self.group_slices = [slice(group.start, group.stop) for group in groups]
        self._pending = [False] * len(groups)
        self._handles: list[Handle] = []
        # Also at the end of the program, and when nobody holds this object any more.
        self._end = weakref.finalize(self, shut_down, self._handles)
        with self._closed_on_failure():
            self._start(env_fns, divided(groups, min(n_workers, n_envs)), start_method, step_timeout)
            observations, actions = self._make()
            path = make_file(n_envs, observations, actions)
            try:
                self._arrays = SharedArrays(path, n_envs, observations, actions)
                self._ask("share", [(path, n_envs, observations, actions)] * len(self._handles))
            finally:
                # Who has mapped it keeps it; Windows alone can't remove it then.
                with suppress(PermissionError):
                    path.unlink()
            super().__init__(n_envs, observations, actions)

    def reset(self) -> VecEnvObs:
        """Start new episodes everywhere; a step under way is finished first, and its results are lost."""
        self._drop_steps()
        with self._closed_on_failure():
            orders = [{i: (self._seeds[i], self._options[i]) for i in _indices(handle)} for handle in self._handles]
            for answer in self._ask("reset", [(order,) for order in orders]):
                for i, info in answer:
                    self.reset_infos[i] = info
        self._reset_seeds()
        self._reset_options()
        observations: VecEnvObs = self._arrays.read_observations(slice(None))
        return observations

    def send(self, group: int, actions: np.ndarray) -> None:
        """Start a step of a group.

        Args:
            group: Index of the group.
            actions: One action for each of its environments; copied.

        Raises:
            ValueError: For actions of a wrong shape or type.
            RuntimeError: If the group's last step hasn't been received.
            EnvironmentFault: If a worker has died.
        """
        if self._pending[group]:
            raise RuntimeError(f"send({group}) again: receive({group}) must come before it")
        target = self._arrays.actions[self.group_slices[group]]
        actions = np.asarray(actions)
        if actions.shape != target.shape:
            raise ValueError(f"actions of group {group} must have the shape {target.shape}, not {actions.shape}")
        if not self._takes(actions, target.dtype):
            raise ValueError(f"actions must be {target.dtype}, not {actions.dtype}")
        target[...] = actions
        with self._closed_on_failure():
            for handle in self._handles:
                if handle.groups[group]:
                    handle.step(group)
        self._pending[group] = True

    def _takes(self, actions: np.ndarray, dtype: np.dtype[Any]) -> bool:
        """Whether actions are what they were once they are of this dtype, that of their space."""
        if np.can_cast(actions.dtype, dtype):
            return True  # as almost always, without a look at each
        if isinstance(self.action_space, spaces.Box):
            return np.can_cast(actions.dtype, dtype, "same_kind")
        # Stable-Baselines3's agents give choices as int64, whatever the space has, and a MultiBinary's bits as floats.
        kinds = "biuf" if isinstance(self.action_space, spaces.MultiBinary) else "iu"
        return actions.dtype.kind in kinds and bool((actions.astype(dtype) == actions).all())

    def receive(self, group: int) -> VecEnvStepReturn:
        """Wait for the step that `send` started.

        Returns:
            Observations, rewards (float32), dones (bool) and infos of the group's environments, all of them copies.

        Raises:
            RuntimeError: If there was no `send`.
            EnvironmentFault: If an environment raised (with the traceback as a note), or took longer than
                `step_timeout`, or a worker died, each with its index. All workers are ended then.
        """
        infos, rows = self._wait(group), self.group_slices[group]
        observations = self._arrays.read_observations(rows)
        return observations, self._arrays.rewards[rows].copy(), self._arrays.dones[rows].copy(), infos

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step of all environments; raises as `send`."""
        if len(actions) != self.num_envs:
            raise ValueError(f"there must be {self.num_envs} actions, not {len(actions)}")
        for group, rows in enumerate(self.group_slices):
            self.send(group, actions[rows])

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step of all environments; returns and raises as `receive`."""
        infos = [info for group in range(len(self.group_slices)) for info in self._wait(group)]
        arrays = self._arrays
        return arrays.read_observations(slice(None)), arrays.rewards.copy(), arrays.dones.copy(), infos

    def close(self) -> None:
        """End the workers; may be called again."""
        self._end()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A frame of each environment, where the render mode is `rgb_array`."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"the render mode is {self.render_mode}: only rgb_array gives images", stacklevel=2)
            return [None] * self.num_envs
        return self.env_method("render")

    def has_attr(self, attr_name: str) -> bool:
        """Whether all environments, or what they wrap, have an attribute; it needn't be one that can be pickled."""
        return all(self.env_method("has_wrapper_attr", attr_name))

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of environments or of what they wrap.

        Raises:
            AttributeError: If one has none of this name.
            EnvironmentFault: If it can't be pickled, or getting it raised.
        """
        return self._call("get_attr", indices, attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of environments, on their outermost wrapper."""
        self._call("set_attr", indices, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """What a method of environments, or of what they wrap, returns; raises as `get_attr`."""
        return self._call("env_method", indices, method_name, method_args, method_kwargs)

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Whether a wrapper of environments is of this class; `EpisodeStatistics` counts as a `Monitor`."""
        # By name, since Monitor itself would bring PyTorch into the workers.
        names = [full_name(wrapper_class)]
        if issubclass(Monitor, wrapper_class):
            names.append(full_name(EpisodeStatistics))
        return self._call("is_wrapped", indices, names)

    def _start(
        self,
        env_fns: Sequence[EnvFn],
        groups: Sequence[Sequence[range]],
        start_method: str | None,
        step_timeout: float,
    ) -> None:
        if start_method is None:
            methods = multiprocessing.get_all_start_methods()
            start_method = "forkserver" if "forkserver" in methods else "spawn"
        context = multiprocessing.get_context(start_method)
        for own in groups:
            functions = pickled([env_fns[i] for part in own for i in part])
            pipes = [handle.pipe for handle in self._handles]
            self._handles.append(Handle(context, functions, own, pipes, step_timeout))

    def _make(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Make all environments; their spaces."""
        answers = self._ask("make", [()] * len(self._handles))
        found = sorted((entry for answer in answers for entry in answer), key=lambda entry: entry[0])
        _, observations, actions = found[0]
        for i, *others in found:
            if others != [observations, actions]:
                raise ValueError(f"environment {i} has other spaces than environment 0: {others} instead")
        return observations, actions

    def _ask(self, name: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What a method of every worker returns; `arguments` are each worker's own."""
        for handle, own in zip(self._handles, arguments, strict=True):
            handle.call(name, *own)
        answers = [handle.receive(CALL) for handle in self._handles]
        _raise_failures(answers)
        return answers

    def _call(self, name: str, indices: Indices, *arguments: Any) -> list[Any]:
        """What a worker's method returns for some environments, in the order of the indices."""
        chosen = list(self._get_indices(indices))
        shares_of = [(handle, sorted(set(chosen) & set(_indices(handle)))) for handle in self._handles]
        asked = [(handle, own) for handle, own in shares_of if own]
        with self._closed_on_failure():
            for handle, own in asked:
                handle.call(name, own, *arguments)
            answers = [handle.receive(CALL) for handle, _ in asked]
        # Raised outside: an attribute that isn't there is no reason to end anything.
        _raise_failures(answers)
        values: dict[int, Any] = {}
        for (_, own), answer in zip(asked, answers, strict=True):
            values.update(zip(own, answer, strict=True))
        return [values[i] for i in chosen]

    def _wait(self, group: int) -> list[dict[str, Any]]:
        """Wait for the step of a group; its infos."""
        if not self._pending[group]:
            raise RuntimeError(f"receive({group}) without send({group}) before it")
        rows = self.group_slices[group]
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(rows.start, rows.stop)]
        with self._closed_on_failure():
            answers = [handle.receive(group) for handle in self._handles if handle.groups[group]]
            _raise_failures(answers)
        self._pending[group] = False
        for answer in answers:
            for info in answer or ():
                infos[info.env - rows.start] = info.step
                if info.reset is not None:
                    info.step["terminal_observation"] = self._arrays.read_final_observation(info.env)
                    self.reset_infos[info.env] = info.reset
        return infos

    def _drop_steps(self) -> None:
        for group, pending in enumerate(self._pending):
            if pending:
                self._wait(group)

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        """Ends the workers when something goes wrong inside: what they're at is unknown then, Ctrl-C included."""
        if not self._end.alive:
            raise RuntimeError("the workers have ended: close was called, or an error has ended them")
        try:
            yield
        except BaseException:
            self._end()
            raise


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shares(indices: range, n: int) -> list[range]:
    """Divides indices into `n` contiguous parts that differ by one at most, longer ones first."""
    least, more = divmod(len(indices), n)
    ends = [indices.start + i * least + min(i, more) for i in range(n + 1)]
    return [range(start, end) for start, end in pairwise(ends)]


def divided(groups: Sequence[range], n_workers: int) -> list[list[range]]:
    """The environments of each worker in each group; the workers' totals differ by one at most."""
    workers: list[list[range]] = [[] for _ in range(n_workers)]
    for group in groups:
        parts = shares(group, n_workers)
        for i, part in enumerate(parts):
            # The longer parts go where the last group's ended.
            workers[(group.start + i) % n_workers].append(part)
    return workers


def _indices(handle: Handle) -> list[int]:
    return [i for group in handle.groups for i in group]


def _raise_failures(answers: Sequence[Any]) -> None:
    """Raises the first failure among answers, an AttributeError or an `EnvironmentFault`."""
    for answer in answers:
        if isinstance(answer, Failure):
            raise failed(answer)
