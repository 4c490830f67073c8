"""How long the states that show the cue are to live, and how long all others, measured now and then in a training."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator

import numpy as np
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import ExpireSpanPPO
from agents.action_masks import get_action_masks, uses_masks
from envs.cue import sees_cue
from experiments.acting import Actor
from experiments.callbacks import OurCallback, next_due
from experiments.config import EnvConfig
from experiments.environments import TRAINING_SEEDS, make, training_envs
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
    vec_env = training_envs(dataclasses.replace(env, n_envs=_EPISODES, vec_env="serial"), TRAINING_SEEDS)
    assert isinstance(vec_env, DummyVecEnv)
    with contextlib.closing(vec_env), _same_random_numbers(model.device):
        actor, masked = Actor(model, _EPISODES, deterministic=False), uses_masks(vec_env, model.use_masking)
        observations, starts = vec_env.reset(), np.ones(_EPISODES, dtype=bool)
        for _ in range(_STEPS):
            shown = [sees_cue(world) for world in vec_env.envs]
            actions, step = actor.act(observations, starts, get_action_masks(vec_env) if masked else None)
            if None in shown or not isinstance(step, StepOutput):
                return None, None
            for sees, span in zip(shown, step.write.span.mean(0).tolist(), strict=True):
                spans[bool(sees)].append(span)
            observations, _, starts, _ = vec_env.step(actions)
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
            self._next = next_due(self._next, self._every, self.num_timesteps)
        for name, span in zip((CUE, OTHERS), self._spans, strict=True):
            if span is not None:
                self.logger.record(name, span)
