"""What happens beside the learning: progress, checkpoints, stopping, schedules."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from agents import ExpireSpanPPO
from agents.checkpoint import CheckpointSeries
from agents.collection import window_reaches
from experiments.errors import say
from experiments.runs import CHECKPOINTS, MODEL

LINES_EVERY = 10.0
"""Seconds between two lines of progress where there is no bar."""


def success_rate(model: ExpireSpanPPO) -> float | None:
    """Share of the newest training episodes that succeeded; None where the environment doesn't say."""
    successes = model.ep_success_buffer
    # Whatever an environment takes for a truth value: what counts is what `evaluate` counts.
    return sum(map(bool, successes)) / len(successes) if successes else None


def mean_return(model: ExpireSpanPPO) -> float | None:
    """Mean return of the newest training episodes; None before the first has ended."""
    episodes = model.ep_info_buffer
    return sum(episode["r"] for episode in episodes) / len(episodes) if episodes else None


def training_facts(model: ExpireSpanPPO, seconds: float) -> dict[str, Any]:
    """What a summary says of a training that took so long: how far it came, and what its newest episodes were like."""
    return {
        "timesteps": model.num_timesteps,
        "seconds": round(seconds, 1),
        "training_success_rate": success_rate(model),
        "training_mean_return": mean_return(model),
        "live_memories": model.memory_statistics.get("live_memories"),
    }


def next_due(due: int, every: int, now: int) -> int:
    """When something is due again that was due at `due` and is done `now`, at that step or later: in step with before,
    however late it was."""
    return due + every * (1 + (now - due) // every)


class OurCallback(BaseCallback):
    """A callback that does nothing at a step."""

    model: ExpireSpanPPO

    def _on_step(self) -> bool:
        return True


class Progress(OurCallback):
    """Shows steps, steps a second, success rate and live memories a step, on standard error.

    Args:
        style: "bar", "lines" (one now and then) or "none".
        total: steps at which the training ends.
    """

    def __init__(self, style: str, total: int) -> None:
        super().__init__()
        self._style, self._total = style, total
        self._bar: tqdm | None = None
        self._began = self._last_line = time.monotonic()
        self._first_step = 0

    def _on_training_start(self) -> None:
        self._began = self._last_line = time.monotonic()
        self._first_step = self.model.num_timesteps
        if self._style == "bar":
            self._bar = tqdm(
                total=self._total, initial=self._first_step, unit=" steps", dynamic_ncols=True, file=sys.stderr
            )

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(min(self.num_timesteps, self._total) - self._bar.n)
        return True

    def _on_rollout_end(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(self._facts()), refresh=False)
        elif self._style == "lines" and time.monotonic() - self._last_line >= LINES_EVERY:
            self._last_line = time.monotonic()
            steps = self.num_timesteps
            speed = (steps - self._first_step) / (self._last_line - self._began)
            facts = [f"{steps:,} of {self._total:,} steps", f"{speed:,.0f} steps/s", *self._facts()]
            print(", ".join(facts), file=sys.stderr, flush=True)

    def _facts(self) -> list[str]:
        facts = []
        success, reward = success_rate(self.model), mean_return(self.model)
        if success is not None:
            facts.append(f"success {success:.3f}")
        elif reward is not None:
            facts.append(f"return {reward:.3g}")
        # Of agents that aren't ours there are none.
        live = getattr(self.model, "memory_statistics", {}).get("live_memories")
        if live is not None:
            facts.append(f"{live:.1f} live memories")
        return facts

    def close(self) -> None:
        """Leaves the bar as it is; what is printed next begins on a new line."""
        if self._bar is not None:
            self._bar.close()


@dataclass
class StopRequest:
    """Whether a signal has asked for the end of the training, and which."""

    signal: int | None = None
    saved: bool = True
    """Whether the training may end: False while there are checkpoints and the last one isn't of after the signal."""


class Saves(OurCallback):
    """Saves the training every so many steps; how, is a subclass's.

    Args:
        every: environment steps between two saves.
        request: when it is made, the training is saved before its next rollout, whenever it was saved last.
    """

    def __init__(self, every: int, request: StopRequest) -> None:
        super().__init__()
        self._every, self._request = every, request
        self._next = 0
        self.collecting = False
        """Whether a rollout is under way: the weights are those of the last whole update, and may be saved."""

    def _on_training_start(self) -> None:
        self._next = self.model.num_timesteps + self._every

    def _on_rollout_start(self) -> None:
        # Between two rollouts the optimiser has done all it will do with the steps counted so far.
        due = self.model.num_timesteps >= self._next
        if due:
            self._next = next_due(self._next, self._every, self.model.num_timesteps)
        if due or self._request.signal:
            self.save()
            self._request.saved = self._request.signal is not None
        self.collecting = True

    def _on_rollout_end(self) -> None:
        self.collecting = False

    def save(self) -> None:
        """Saves the training as it is now."""
        raise NotImplementedError


class Checkpoints(Saves):
    """Saves the training as a checkpoint, and the model beside it.

    Args:
        run_dir: the run folder.
        every: environment steps between two checkpoints.
        keep: checkpoints to keep, the newest ones.
        request: as `Saves`.
    """

    def __init__(self, run_dir: Path, every: int, keep: int, request: StopRequest) -> None:
        super().__init__(every, request)
        self._run_dir, self._series = run_dir, CheckpointSeries(run_dir / CHECKPOINTS, keep)

    def save(self) -> None:
        """Saves the training as it is now."""
        self._series.save(self.model.num_timesteps, self.model.training_tree())
        save(self.model, self._run_dir)


def save(model: ExpireSpanPPO, run_dir: Path) -> None:
    """Saves the model as the newest one of the run."""
    model.save(run_dir / MODEL)


class StopAtSuccess(OurCallback):
    """Ends the training once the last `stats_window_size` episodes have reached a success rate.

    Stable-Baselines3 counts the episodes that say whether they succeeded. Of an environment that says so of its
    successes alone that would be all of them. So it waits until an episode has ended in each environment, and never
    ends the training once one has ended without a word.

    Args:
        success: the rate, in (0, 1]; None never stops.
    """

    def __init__(self, success: float | None) -> None:
        super().__init__()
        self._success = success
        self.reached = False

    def _on_training_start(self) -> None:
        self._unheard = set(range(self.model.n_envs))

    def _on_step(self) -> bool:
        # At a step and not at a rollout's end: the weights that are kept are those that the newest episodes ended with.
        successes = self.model.ep_success_buffer
        if self._success is not None and self.locals["dones"].any() and successes is not None:
            self.reached = self._all_speak() and window_reaches(successes, self._success)
        return not self.reached

    def _all_speak(self) -> bool:
        """Whether an episode has ended in each environment, and all that have said whether they succeeded."""
        # Batched environments always say it, in a tensor.
        if self.locals.get("episodes") is not None:
            return True
        ended = np.flatnonzero(self.locals["dones"]).tolist()
        if any(self.locals["infos"][i].get("is_success") is None for i in ended):
            say(
                f"--stop-at-success {self._success}: an episode has ended without is_success in its info, so it isn't "
                f"known how many succeed, and training goes on up to --total-timesteps"
            )
            self._success = None
            return False
        self._unheard.difference_update(ended)
        return not self._unheard


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within this block Ctrl-C and SIGTERM only leave a request; a second one acts as it would have without us."""
    request = StopRequest()

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        restore()
        print("stopping, and saving, after this update; once more to stop without saving", file=sys.stderr, flush=True)

    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in handled}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield request
    finally:
        restore()


class StopOnRequest(OurCallback):
    """Ends the training at the next step once a signal has asked for it, and it is saved."""

    def __init__(self, request: StopRequest) -> None:
        super().__init__()
        self._request = request
        self.has_stopped = False

    def _on_step(self) -> bool:
        self.has_stopped = self._request.signal is not None and self._request.saved
        return not self.has_stopped


class EntropySchedule(OurCallback):
    """Moves `ent_coef` linearly from `start` to `end` over the training."""

    def __init__(self, start: float, end: float) -> None:
        super().__init__()
        self._start, self._end = start, end

    def _on_rollout_end(self) -> None:
        done = min(1.0, self.model.num_timesteps / self.model._total_timesteps)
        self.model.ent_coef = self._start + (self._end - self._start) * done
        self.logger.record("train/ent_coef", self.model.ent_coef)
