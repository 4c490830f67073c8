"""Environments as the configuration describes them: for training, for playing given seeds, for recording."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, SupportsFloat, TypeGuard

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecTransposeImage

import envs
from agents import space_checks
from envs.batched import BatchedVecEnv, make_batched
from envs.envpool_memory import EnvPoolVecEnv
from envs.faults import FAULTS, EnvironmentFault, NumberedFaults, close, told
from envs.shapes import KINDS, SIMPLE, ShapesChecked, parts_of
from envs.workers.episodes import EpisodeStatistics, make_monitored
from envs.workers.vec_env import WorkerVecEnv
from experiments.config import EnvConfig
from experiments.errors import UserError, one_line, user_errors

TRAINING_SEEDS = 10**9
"""Training's seeds lie below this, the fresh ones of evaluations from here on."""
SEEDS_PER_EVALUATION = 10**6
CUT_OFF = "expire_span.cut_off"
"""In the last `info` of an episode that was cut off since nobody would wait longer."""


def make(env: EnvConfig, **more: Any) -> gym.Env[Any, Any]:
    """One environment, its spaces checked, images with channels first.

    Args:
        env: id and arguments.
        more: further arguments, such as `render_mode`; they win over those of `env`.

    Raises:
        UserError: for an unknown id (with near misses), wrong arguments, spaces that no policy can read, or whatever
            the environment itself raises.
    """
    if ":" in env.env_id:
        _look_in_working_directory()
    with _construction_of(env.env_id):
        # ImportError and gymnasium's own errors come from ids whose packages aren't installed.
        with user_errors(ValueError, TypeError, ImportError, gym.error.Error, prefix="environment: "):
            made = envs.make_env(env.env_id, **{**env.env_kwargs, **more})
        try:
            check_spaces(env.env_id, made.observation_space, made.action_space)
        except UserError:
            close(made, env.env_id)
            raise
        return _channels_first(made)


def spaces_of(env: EnvConfig) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """The spaces of observations and actions of an environment that is made to see whether it can be.

    Raises:
        UserError: as `make`.
    """
    made = make(env)
    close(made, env.env_id)
    return made.observation_space, made.action_space


@contextmanager
def _construction_of(env_id: str) -> Iterator[None]:
    """Turns whatever is raised inside into a `UserError`: environments are the user's, and may raise anything."""
    try:
        yield
    except UserError:
        raise
    except FAULTS as error:
        said = one_line(error) if isinstance(error, EnvironmentFault) else told(error)
        raise UserError(f"{env_id} can't be made: {said}") from error


def _look_in_working_directory() -> None:
    """Lets a module that lies there be imported, as `python -m` does and the console script doesn't.

    Last, and not before an id names a module: a folder that happens to be called `envs` isn't to be taken for ours.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)


def _channels_first(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Images as Stable-Baselines3 turns them in a training: a model's spaces are then those of its environment."""
    space = env.observation_space
    if isinstance(space, spaces.Dict):
        images = {
            name: VecTransposeImage.transpose_space(part)
            for name, part in space.spaces.items()
            if _has_channels_last(part)
        }
        if not images:
            return env
        turned = spaces.Dict({**space.spaces, **images})
        return TransformObservation(env, lambda seen: seen | {name: _turned(seen[name]) for name in images}, turned)
    if not _has_channels_last(space):
        return env
    return TransformObservation(env, _turned, VecTransposeImage.transpose_space(space))


def _has_channels_last(space: gym.Space[Any]) -> TypeGuard[spaces.Box]:
    return isinstance(space, spaces.Box) and is_image_space(space) and not is_image_space_channels_first(space)


def _turned(image: np.ndarray) -> np.ndarray:
    return np.moveaxis(image, -1, 0)


def check_spaces(env_id: str, observations: gym.Space[Any], actions: gym.Space[Any]) -> None:
    """Raises a `UserError` where no policy can read such observations or choose such actions.

    Whether images are large enough for a CNN is for the agent to say, if it has one.
    """
    if not isinstance(actions, SIMPLE):
        raise UserError(f"{env_id} has {type(actions).__name__} actions, supported are {KINDS}")
    if isinstance(actions, spaces.MultiBinary) and not isinstance(actions.n, int):
        raise UserError(f"{env_id} has MultiBinary actions of shape {actions.shape}, supported is one dimension")
    for name, part in parts_of(observations).items():
        if not isinstance(part, SIMPLE):
            where = f" in {name!r}" if name else ""
            raise UserError(
                f"{env_id} has {type(part).__name__} observations{where}, "
                f"supported are {KINDS}, or a flat Dict of these"
            )
    with user_errors(ValueError, prefix=f"{env_id}: "):
        space_checks.check_spaces(observations, actions, nature_cnn=False)


def training_envs(env: EnvConfig, seed: int, device: torch.device | str = "cpu") -> VecEnv:
    """The environments that a training steps, as `vec_env` says.

    The i-th is first reset with `seed + i` and goes on from there; batched ones draw their levels from `seed` alone.

    Args:
        env: id, arguments and number.
        seed: of the first reset.
        device: where batched environments step. Default the CPU.

    Raises:
        UserError: as `make`, before any process is started, and for what that way of stepping doesn't support.
    """
    with _construction_of(env.env_id):
        spaces_of(env)
        # ImportError: EnvPool isn't installed.
        with user_errors(ValueError, ImportError, prefix=f"--vec-env {env.vec_env}: "):
            vec_env = _MAKERS[env.vec_env](env, device)
        vec_env.seed(seed)
        return vec_env


def _serial(env: EnvConfig, _: torch.device | str) -> VecEnv:
    def maker(number: int) -> Callable[[], gym.Env[Any, Any]]:
        return lambda: monitored(make(env), number)

    return DummyVecEnv([maker(number) for number in range(env.n_envs)])


def monitored(env: gym.Env[Any, Any], number: int) -> NumberedFaults:
    """An environment that agents can act in: its episodes are counted, and what goes wrong in it is told of it.

    Args:
        env: the environment.
        number: which of those side by side it is.
    """
    # Not Monitor, which keeps every episode for ever.
    return NumberedFaults(EpisodeStatistics(ShapesChecked(env)), number)


def _subprocess(env: EnvConfig, _: torch.device | str) -> VecEnv:
    # Nothing of `experiments` comes along, and with it no PyTorch.
    make_one = partial(make_monitored, env.env_id, **env.env_kwargs)
    return WorkerVecEnv([make_one] * env.n_envs, env.n_workers, step_timeout=env.env_timeout)


def _batched(env: EnvConfig, device: torch.device | str) -> VecEnv:
    kwargs: dict[str, Any] = dict(env.env_kwargs)
    return BatchedVecEnv(make_batched(env.env_id, env.n_envs, device, **kwargs))


def _envpool(env: EnvConfig, _: torch.device | str) -> VecEnv:
    kwargs: dict[str, Any] = dict(env.env_kwargs)
    for name in kwargs.keys() - {"agent_view_size", "max_steps"}:
        raise ValueError(f"environments can be given agent_view_size and max_steps, not {name}")
    return EnvPoolVecEnv(env.env_id.rpartition(":")[2], env.n_envs, n_threads=env.n_workers, **kwargs)


_MAKERS: Mapping[str, Callable[[EnvConfig, torch.device | str], VecEnv]] = {
    "serial": _serial,
    "subprocess": _subprocess,
    "batched": _batched,
    "envpool": _envpool,
}


class SeededEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Plays one episode for each of the given seeds, in order; after the last seed, that one over and over.

    Args:
        env: the environment.
        seeds: of its episodes.
        max_steps: after so many steps an episode is cut off, as its last `info` says under `CUT_OFF`; None for never.
    """

    def __init__(self, env: gym.Env[Any, Any], seeds: Sequence[int], max_steps: int | None = None) -> None:
        super().__init__(env)
        self._seeds, self._max_steps = list(seeds), max_steps
        self._next, self._steps = 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts the episode of the next seed; a seed given here is ignored."""
        seed = self._seeds[min(self._next, len(self._seeds) - 1)]
        self._next += 1
        self._steps = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The environment's own step, the last one where that's how many there may be."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        if self._steps == self._max_steps and not (terminated or truncated):
            truncated, info = True, {**info, CUT_OFF: True}
        return observation, reward, terminated, truncated, info


def seeded_envs(env: EnvConfig, shares: Sequence[Sequence[int]], max_steps: int | None = None) -> VecEnv:
    """Environments side by side, the i-th of which plays the episodes of the seeds in `shares[i]`, of `max_steps`
    steps at most."""

    def maker(number: int, seeds: Sequence[int]) -> Callable[[], gym.Env[Any, Any]]:
        return lambda: monitored(SeededEpisodes(make(env), seeds, max_steps), number)

    return DummyVecEnv([maker(number, seeds) for number, seeds in enumerate(shares)])


def fresh_seeds(seed: int, episodes: int) -> list[int]:
    """The seeds of an evaluation's episodes, all of them outside of training's.

    Raises:
        UserError: for a seed or a number of episodes out of range.
    """
    if not 0 <= seed < 1000:
        raise UserError(f"--seed {seed}: an evaluation's seed lies between 0 and 999")
    if not 0 < episodes <= SEEDS_PER_EVALUATION:
        raise UserError(f"--episodes {episodes}: must lie between 1 and {SEEDS_PER_EVALUATION}")
    start = TRAINING_SEEDS + seed * SEEDS_PER_EVALUATION
    return list(range(start, start + episodes))


def untested_arguments(env: EnvConfig) -> str | None:
    """A hint where a task is taken without the arguments that make it one for a memory; else None."""
    task = envs.TASKS.get(env.env_id)
    if task is None:
        return None
    missing = [f"{name}={value}" for name, value in task.kwargs.items() if name not in env.env_kwargs]
    if not missing:
        return None
    return f"{env.env_id} demands a memory with --env-args {' '.join(missing)} (`expire-span tasks` says why)"
