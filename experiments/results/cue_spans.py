"""How long the states that show the cue are to live, and how long all others, measured now and then in a training."""

import contextlib
import time
from collections.abc import Iterator

import numpy as np
import torch

from agents import ExpireSpanPPO
from agents.action_masks import get_action_masks, uses_masks
from envs.cue import sees_cue
from experiments.acting import Actor
from experiments.callbacks import OurCallback
from experiments.config import EnvConfig
from experiments.environments import TRAINING_SEEDS, make
from expire_span import StepOutput

CUE, OTHERS = "memory/span_of_cue", "memory/span_of_others"
"""What is logged."""
_EPISODES, _STEPS = 8, 24
"""Fresh episodes that are begun side by side, and their steps: the cue is where an episode begins."""


def has_cue(env: EnvConfig) -> bool:
    """Whether it can be told when a cue is seen in this environment."""
    with contextlib.closing(make(env)) as world:
        world.reset(seed=TRAINING_SEEDS)
        return sees_cue(world) is not None


def spans_of_cue(model: ExpireSpanPPO, env: EnvConfig) -> tuple[float | None, float | None]:
    """Mean span, in steps, of the states that show the cue, and of those that don't.

    They are those of the first steps of a few fresh episodes, with sampled actions, mean over the layers. PyTorch's
    random numbers are afterwards as before, so that measuring doesn't change a training.

    Args:
        model: the agent.
        env: its environment.

    Returns:
        Both means. None where no such state was met, as in an environment without a cue or a core without spans.
    """
    spans: dict[bool, list[float]] = {True: [], False: []}
    with contextlib.ExitStack() as stack:
        worlds = [stack.enter_context(contextlib.closing(make(env))) for _ in range(_EPISODES)]
        stack.enter_context(_same_random_numbers(model.device))
        masked = uses_masks(worlds[0], model.use_masking)
        observations = [world.reset(seed=TRAINING_SEEDS + i)[0] for i, world in enumerate(worlds)]
        starts = np.ones(_EPISODES, dtype=bool)
        actor = Actor(model, _EPISODES, deterministic=False)
        for _ in range(_STEPS):
            shown = [sees_cue(world) for world in worlds]
            if None in shown:
                return None, None
            masks = np.stack([get_action_masks(world) for world in worlds]) if masked else None
            actions, step = actor.act(np.stack(observations), starts, masks)
            if not isinstance(step, StepOutput):
                return None, None
            for sees, span in zip(shown, step.write.span.mean(0).tolist(), strict=True):
                spans[bool(sees)].append(span)
            for i, world in enumerate(worlds):
                observations[i], _, terminated, truncated, _ = world.step(actions[i])
                starts[i] = terminated or truncated
                if starts[i]:
                    observations[i], _ = world.reset()
    cue, others = (float(np.mean(spans[seen])) if spans[seen] else None for seen in (True, False))
    return cue, others


@contextlib.contextmanager
def _same_random_numbers(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


class LogsSpansOfCue(OurCallback):
    """Logs `spans_of_cue` with every rollout, as it was last measured. What measuring takes isn't training's time.

    Args:
        env: the environment.
        every: steps after which it is measured again.
    """

    def __init__(self, env: EnvConfig, every: int) -> None:
        super().__init__()
        self._env, self._every = env, every
        self._next = 0
        self._spans: tuple[float | None, float | None] = (None, None)

    def _on_rollout_end(self) -> None:
        if self.num_timesteps >= self._next:
            began = time.time_ns()
            self._spans = spans_of_cue(self.model, self._env)
            # What SB3 counts the elapsed time from.
            self.model.start_time += time.time_ns() - began
            while self._next <= self.num_timesteps:
                self._next += self._every
        for name, span in zip((CUE, OTHERS), self._spans, strict=True):
            if span is not None:
                self.logger.record(name, span)
