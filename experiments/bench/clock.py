"""Where the time of a training goes, seen from outside: for agents that don't say it themselves."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class Phases(NamedTuple):
    """Seconds since the training began."""

    acting: float
    """Of rollouts, but not waiting for environments."""
    env: float
    """Waiting for environments."""
    update: float
    """From the end of a rollout to the start of the next: `train()`, and the log."""

    def since(self, before: "Phases") -> "Phases":
        """The seconds from `before` to here."""
        return Phases(self.acting - before.acting, self.env - before.env, self.update - before.update)


class TimedVecEnv(VecEnvWrapper):
    """Environments that count the seconds from `step_async` to the end of `step_wait`."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seconds = 0.0
        self._asked = 0.0

    def reset(self) -> VecEnvObs:
        """As the environments; not counted."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """As the environments; the clock starts."""
        self._asked = time.perf_counter()
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """As the environments; the clock stops."""
        result = self.venv.step_wait()
        self.seconds += time.perf_counter() - self._asked
        return result


def now(device: torch.device) -> float:
    """`perf_counter` once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class OutsideClock(BaseCallback):
    """Counts the phases of any on-policy algorithm of Stable-Baselines3.

    Args:
        env: the environments it steps.
        device: where it computes.
    """

    def __init__(self, env: TimedVecEnv, device: torch.device) -> None:
        super().__init__()
        self._env, self._device = env, device
        self._rollout_began = self._env_before = 0.0
        self._rollout_ended: float | None = None
        self._phases = Phases(0.0, 0.0, 0.0)

    def so_far(self) -> Phases:
        """The phases of the iterations begun before this one."""
        return self._phases

    def _on_rollout_start(self) -> None:
        self._rollout_began, self._env_before = now(self._device), self._env.seconds
        if self._rollout_ended is not None:
            update = self._rollout_began - self._rollout_ended
            self._phases = self._phases._replace(update=self._phases.update + update)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._rollout_ended = now(self._device)
        env = self._env.seconds - self._env_before
        acting = self._rollout_ended - self._rollout_began - env
        self._phases = self._phases._replace(acting=self._phases.acting + acting, env=self._phases.env + env)


class Span(NamedTuple):
    """What was measured."""

    steps: int
    """Environment steps, of all environments together."""
    first_step: int
    """So many were taken before."""
    seconds: float
    phases: Phases
    warm_up_seconds: float
    """Before it, compilation included."""
    unevenness: float
    """The slowest iteration's time over the fastest's: far above 1 where something else was busy."""


class Stopwatch(BaseCallback):
    """Measures whole iterations (a rollout and its update) and then ends the training.

    Args:
        seconds: least time to measure.
        warm_up: iterations before that, at least 1.
        device: where the agent computes.
        phases: tells the phases so far, those of the last update included.
    """

    def __init__(self, seconds: float, warm_up: int, device: torch.device, phases: Callable[[], Phases]) -> None:
        super().__init__()
        self._least, self._warm_up, self._device, self._phases = seconds, warm_up, device, phases
        self._iterations = 0
        self._starts: list[float] = []
        self._created = time.perf_counter()
        self._began: tuple[float, int, Phases] | None = None
        self.span: Span | None = None
        """The result; None until the training has ended by itself."""

    def _on_rollout_start(self) -> None:
        time_now = now(self._device)
        if self._iterations >= self._warm_up:
            self._starts.append(time_now)
        if self._iterations == self._warm_up:
            self._began = time_now, self.model.num_timesteps, self._phases()
        elif self._began is not None:
            began, steps, phases = self._began
            if time_now - began >= self._least:
                times = np.diff(self._starts)
                self.span = Span(
                    self.model.num_timesteps - steps,
                    steps,
                    time_now - began,
                    self._phases().since(phases),
                    began - self._created,
                    float(times.max() / times.min()),
                )
        self._iterations += 1

    def _on_step(self) -> bool:
        # Where a rollout starts a training can't be stopped; it is at this one's first step, which isn't counted.
        return self.span is None
