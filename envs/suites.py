"""POPGym and Memory Gym: how an id finds its package, and how their environments become what an agent can read."""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from envs.flat_spaces import FlatSpaces
from envs.memory_gym_episodes import MemoryGymEpisodes
from envs.previous_action import PreviousAction


@dataclass(frozen=True)
class Suite:
    """A package of environments by others."""

    title: str
    """What it calls itself."""
    module: str
    """Importing it registers the environments."""
    install: str
    """The command that installs it beside our requirements."""
    prefixes: tuple[str, ...]
    """How the ids begin, in lower case."""
    read: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
    """Wraps an environment into one that our agents can read."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the process, set before an environment is made, unless they are there."""

    def load(self) -> None:
        """Import the package, and with it register its environments.

        Raises:
            ValueError: If it isn't installed.
        """
        try:
            importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name != self.module:
                raise
            raise ValueError(f"{self.title} isn't installed: {self.install}") from error

    def ids(self) -> list[str]:
        """The ids of all its environments, in its own order; raises as `load`."""
        self.load()
        return [env_id for env_id, spec in gym.registry.items() if suite_of_spec(spec) is self]

    def make(self, spec: EnvSpec, **kwargs: Any) -> gym.Env[Any, Any]:
        """The environment of a specification, as `gymnasium.make` has it, but readable."""
        for name, value in self.variables.items():
            os.environ.setdefault(name, value)
        # Gymnasium's passive checks would warn of habits that do no harm here, such as infos that share an array.
        return self.read(gym.make(replace(spec, disable_env_checker=True), **kwargs))


def _read_popgym(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    # Its own mark: without the action that led to it, an observation of these says nothing.
    if getattr(env.unwrapped, "obs_requires_prev_action", False):
        env = PreviousAction(env)
    return FlatSpaces(env)


POPGYM = Suite(
    "POPGym",
    "popgym",
    "pip install 'expire-span[popgym]'",
    ("popgym-",),
    _read_popgym,
)
MEMORY_GYM = Suite(
    "Memory Gym",
    "memory_gym",
    # It asks for one old version of Gymnasium, and runs with ours.
    "pip install --no-deps memory-gym==1.0.2",
    tuple(
        f"{endless}{name}"
        for endless in ("", "endless-")
        for name in ("mortarmayhem", "mysterypath", "searingspotlights")
    ),
    MemoryGymEpisodes,
    # It makes no sound, but starts pygame's, which complains at length where there is no sound card.
    {"SDL_AUDIODRIVER": "dummy"},
)
SUITES = (POPGYM, MEMORY_GYM)


def suite_of_id(env_id: str) -> Suite | None:
    """The suite whose ids begin as this one, None if there is none; it needn't be installed."""
    return next((suite for suite in SUITES if env_id.lower().startswith(suite.prefixes)), None)


def suite_of_spec(spec: EnvSpec) -> Suite | None:
    """The suite whose package makes the environment, None if it is another's."""
    return next((suite for suite in SUITES if str(spec.entry_point).startswith(f"{suite.module}.")), None)
