"""What runs in a worker: a loop over messages. It imports neither PyTorch nor Stable-Baselines3.

A message of one byte, the number of a group, asks for a step of this worker's environments of that group: the
actions lie in the shared arrays, and observations, rewards and dones go there. Any other message is a call of a
method of `Worker`, as `pickled`. An answer starts with the same byte, or `CALL`, and goes on with a pickle: what the
call returned, a `Failure`, or after a step the infos that say anything; where none do, nothing follows.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.vector.utils import CloudpickleWrapper

from envs.faults import FAULTS, told
from envs.shapes import as_number
from envs.workers.arrays import SharedArrays

CALL = 255
"""First byte of the answer to a call; groups are numbered below it."""
NOWHERE = -1
"""In place of an environment's index, while a worker is at none."""
PATIENCE = 5.0
"""Seconds that workers have for closing their environments."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_EnvFn = Callable[[], gym.Env[Any, Any]]


class Failure(NamedTuple):
    """An exception of an environment.

    Args:
        env: Index of the environment; None where it wasn't one.
        no_attribute: Whether it was an AttributeError, by which callers see what environments don't have.
        said: What `told` says of the exception.
        trace: The traceback as text.
    """

    env: int | None
    no_attribute: bool
    said: str
    trace: str


class Info(NamedTuple):
    """The infos of a step of environment `env`; `reset` is that of the reset after an episode's end, else None.

    Where an episode ended, its last observation lies in the shared arrays.
    """

    env: int
    step: dict[str, Any]
    reset: dict[str, Any] | None


def run(
    pipe: Connection,
    env_fns: bytes,
    groups: Sequence[range],
    inherited: Sequence[Connection],
    at: ctypes.c_longlong,
) -> None:
    """The life of a worker: until the other end of the pipe closes.

    Args:
        pipe: To the parent.
        env_fns: A list of functions, each of which makes an environment, in the order of `groups`; as `pickled`.
        groups: Indices of this worker's environments, for each group.
        inherited: The parent's ends of pipes, which a forked process must close, or no worker sees them close.
        at: In shared memory: the index of the environment that the worker is at, or `NOWHERE`.
    """
    # Ctrl-C is the parent's, which may have a model to save; a handler that was forked along isn't ours.
    for number, action in ((signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_DFL)):
        signal.signal(number, action)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    for connection in inherited:
        connection.close()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(env_fns, groups, at)
    # EOFError and OSError: the parent is gone.
    with contextlib.closing(worker), contextlib.suppress(EOFError, OSError):
        while True:
            message = pipe.recv_bytes()
            group = message[0] if len(message) == 1 else CALL
            pipe.send_bytes(bytes([group]) + worker.answer(message))


def _end_with_parent() -> None:
    """Ends this process once its parent has ended, even where an environment hangs and no message is read any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    time.sleep(PATIENCE)
    os._exit(1)


class Worker:
    """The environments of one worker, and what can be asked of them; arguments as `run`."""

    def __init__(self, env_fns: bytes, groups: Sequence[range], at: ctypes.c_longlong) -> None:
        self._env_fns = env_fns
        self._groups = groups
        self._envs: dict[int, gym.Env[Any, Any]] = {}
        self._arrays: SharedArrays | None = None
        self._at = at

    def answer(self, message: bytes) -> bytes:
        """The answer to a message, without its first byte."""
        try:
            if len(message) == 1:
                infos = self._step(self._groups[message[0]])
                return _answer(infos) if infos else b""
            name, arguments = pickle.loads(message).fn
            return _answer(getattr(self, name)(*arguments))
        except FAULTS as error:
            env = None if self._at.value == NOWHERE else self._at.value
            return pickle.dumps(Failure(env, isinstance(error, AttributeError), told(error), traceback.format_exc()))
        finally:
            self._at.value = NOWHERE

    def close(self) -> None:
        """Close the environments, as far as they can be."""
        for env in self._envs.values():
            with contextlib.suppress(Exception):
                env.close()

    def make(self) -> list[tuple[int, gym.Space[Any], gym.Space[Any]]]:
        """Make the environments; their indices and spaces, as (index, observations, actions), where they differ."""
        functions: list[_EnvFn] = pickle.loads(self._env_fns).fn
        found: list[tuple[int, gym.Space[Any], gym.Space[Any]]] = []
        for i, function in zip(self._each([i for group in self._groups for i in group]), functions, strict=True):
            env = self._envs[i] = function()
            if not isinstance(env, gym.Env):
                raise TypeError(f"a function must return a gymnasium.Env, not {type(env).__name__}")
            if not found or found[-1][1:] != (env.observation_space, env.action_space):
                found.append((i, env.observation_space, env.action_space))
        # Only if an environment has brought it in.
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)
        return found

    def share(self, path: Path, n_envs: int, observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
        """Map the arrays of a file, as `SharedArrays`."""
        self._arrays = SharedArrays(path, n_envs, observations, actions)

    def reset(self, options: dict[int, tuple[int | None, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
        """Reset environments with seed and options, given by index; their indices and infos."""
        assert self._arrays is not None
        infos = []
        for i in self._each(options):
            seed, more = options[i]
            observation, info = self._envs[i].reset(seed=seed, **({"options": more} if more else {}))
            self._arrays.write_observation(i, observation)
            infos.append((i, info))
        return infos

    def get_attr(self, indices: Sequence[int], name: str) -> list[Any]:
        """An attribute of environments or of what they wrap."""
        return [self._envs[i].get_wrapper_attr(name) for i in self._each(indices)]

    def set_attr(self, indices: Sequence[int], name: str, value: Any) -> list[None]:
        """Set an attribute, of the outermost wrapper."""
        for i in self._each(indices):
            setattr(self._envs[i], name, value)
        return [None] * len(indices)

    def env_method(self, indices: Sequence[int], name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """Call a method of environments or of what they wrap."""
        return [self._envs[i].get_wrapper_attr(name)(*args, **kwargs) for i in self._each(indices)]

    def is_wrapped(self, indices: Sequence[int], names: Sequence[str]) -> list[bool]:
        """Whether one of their wrappers is, or descends from, a class with one of these full names."""
        return [not _wrappers(self._envs[i]).isdisjoint(names) for i in self._each(indices)]

    def _each(self, indices: Iterator[int] | Sequence[int] | dict[int, Any]) -> Iterator[int]:
        """Indices, one by one, while the parent can see which one is at work."""
        for i in indices:
            self._at.value = i
            yield i
        self._at.value = NOWHERE

    def _step(self, indices: range) -> list[Info]:
        arrays, envs, at, infos = self._arrays, self._envs, self._at, []
        assert arrays is not None
        actions, rewards, dones = arrays.actions, arrays.rewards, arrays.dones
        for i in indices:
            at.value = i
            # A copy, since the environment may keep it.
            observation, reward, terminated, truncated, info = envs[i].step(actions[i].copy())
            done = bool(terminated or truncated)
            reset_info = None
            if done:
                info["TimeLimit.truncated"] = bool(truncated and not terminated)
                arrays.write_final_observation(i, observation)
                observation, reset_info = envs[i].reset()
            elif info:
                info["TimeLimit.truncated"] = False
            arrays.write_observation(i, observation)
            rewards[i] = as_number(reward)
            dones[i] = done
            if info:
                infos.append(Info(i, info, reset_info))
        return infos


def pickled(value: Any) -> bytes:
    """What may hold functions without a name, for `pickle.loads(…).fn`."""
    return pickle.dumps(CloudpickleWrapper(value))


def full_name(kind: type) -> str:
    """Module and name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _wrappers(env: gym.Env[Any, Any]) -> set[str]:
    names: set[str] = set()
    while isinstance(env, gym.Wrapper):
        names.update(full_name(kind) for kind in type(env).__mro__)
        env = env.env
    return names


def _answer(value: Any) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise TypeError(f"what an environment gave can't be sent to another process: {error}") from error
