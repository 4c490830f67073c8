"""Where the time of a training goes, seen from outside: for agents that don't say it themselves."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.collection import Timings


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
    """Counts the timings of any on-policy algorithm of Stable-Baselines3: `update` is what lies between the end of a
    rollout and the start of the next, the log too.

    Args:
        env: the environments it steps.
        device: where it computes.
    """

    def __init__(self, env: TimedVecEnv, device: torch.device) -> None:
        super().__init__()
        self._env, self._device = env, device
        self._rollout_began = self._env_before = 0.0
        self._rollout_ended: float | None = None
        self._timings = Timings()

    def so_far(self) -> Timings:
        """The timings of the iterations begun before this one."""
        return self._timings

    def unseen(self, wait: Callable[[], None]) -> Callable[[], None]:
        """The same, but that what it takes at a rollout's start is no part of the rollout."""

        def waited() -> None:
            asked = now(self._device)
            wait()
            self._rollout_began += now(self._device) - asked

        return waited

    def _on_rollout_start(self) -> None:
        self._rollout_began, self._env_before = now(self._device), self._env.seconds
        if self._rollout_ended is not None:
            update = self._rollout_began - self._rollout_ended
            self._timings = self._timings._replace(update=self._timings.update + update)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._rollout_ended = now(self._device)
        env = self._env.seconds - self._env_before
        acting = self._rollout_ended - self._rollout_began - env
        self._timings = self._timings._replace(acting=self._timings.acting + acting, env=self._timings.env + env)


class Span(NamedTuple):
    """What was measured."""

    steps: int
    """Environment steps, of all environments together."""
    first_step: int
    """So many were taken before."""
    seconds: float
    timings: Timings
    warm_up_seconds: float
    """Before it, compilation included."""
    unevenness: float
    """The slowest iteration's time over the fastest's: far above 1 where something else was busy."""
    speeds: list[float]
    """Steps a second of each turn."""


class Stopwatch(BaseCallback):
    """Measures whole iterations (a rollout and its update) and then ends the training.

    Args:
        seconds: least time to measure.
        warm_up: iterations before that, at least 1.
        device: where the agent computes.
        timings: tells the timings so far, those of the last update included.
        turns: parts of the time, each measured when it is this row's turn.
        wait: returns when it is. Rows that are measured by turns meet the same machine, fast or slow as it may be.
    """

    def __init__(
        self,
        seconds: float,
        warm_up: int,
        device: torch.device,
        timings: Callable[[], Timings],
        turns: int = 1,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._least, self._warm_up, self._device, self._timings = seconds / turns, warm_up, device, timings
        self._turns, self._wait = turns, wait
        self._iterations = 0
        self._created = time.perf_counter()
        self._began: tuple[float, int, Timings] | None = None
        self._turn_began = self._last = 0.0
        self._turn_steps = 0
        self._iteration_times: list[float] = []
        self._turn_seconds: list[float] = []
        self._speeds: list[float] = []
        self.span: Span | None = None
        """The result; None until the training has ended by itself."""

    def _on_rollout_start(self) -> None:
        time_now, steps = now(self._device), self.model.num_timesteps
        if self._iterations == self._warm_up:
            self._began = time_now, steps, self._timings()
            self._take_turn()
        elif self._began is not None:
            self._iteration_times.append(time_now - self._last)
            self._last = time_now
            if time_now - self._turn_began >= self._least:
                self._turn_seconds.append(time_now - self._turn_began)
                self._speeds.append((steps - self._turn_steps) / self._turn_seconds[-1])
                if len(self._speeds) < self._turns:
                    self._take_turn()
                else:
                    self.span = self._measured(*self._began)
        self._iterations += 1

    def _take_turn(self) -> None:
        self._wait()
        self._turn_began = self._last = now(self._device)
        self._turn_steps = self.model.num_timesteps

    def _measured(self, began: float, steps: int, timings: Timings) -> Span:
        return Span(
            self.model.num_timesteps - steps,
            steps,
            sum(self._turn_seconds),
            self._timings().since(timings),
            began - self._created,
            max(self._iteration_times) / min(self._iteration_times),
            self._speeds,
        )

    def _on_step(self) -> bool:
        # Where a rollout starts a training can't be stopped; it is at this one's first step, which isn't counted.
        return self.span is None
