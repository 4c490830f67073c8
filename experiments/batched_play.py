"""Episodes of batched environments: acting and stepping are one program on the model's device."""

import dataclasses
from collections.abc import Callable

import torch

from agents import ExpireSpanPPO
from agents.captured import Machinery, captured
from agents.unvalidated import unvalidated
from envs.batched import BatchedEnv, BatchedVecEnv
from experiments.acting import Actor
from experiments.config import EnvConfig
from experiments.environments import training_envs
from experiments.episodes import Episode
from expire_span import ExpireSpanCore, StepOutput

LOOK_EVERY = 64
"""Steps after which the host looks whether all episodes are over, for which it waits for the device."""


def play_batched(
    model: ExpireSpanPPO, env: EnvConfig, seed: int, episodes: int, is_stopped: Callable[[], bool] = lambda: False
) -> list[Episode] | None:
    """Plays one episode in each of as many batched environments, all at once on the model's device, with the likeliest
    actions.

    Args:
        model: the agent.
        env: an environment that has a batched version.
        seed: of the episodes, `TRAINING_SEEDS` or more for fresh ones.
        episodes: how many.
        is_stopped: asked now and then.

    Returns:
        The episodes by the number of their environment, which stands as their seed; None once it is stopped.
    """
    vec_env = training_envs(dataclasses.replace(env, vec_env="batched", n_envs=episodes), seed, model.device)
    assert isinstance(vec_env, BatchedVecEnv)
    with unvalidated():
        game = _Game(model, vec_env.tensor_env, seed)
        while not bool(game.over.all()):
            if is_stopped():
                return None
            for _ in range(LOOK_EVERY):
                game.step()
    return game.episodes()


class _Game:
    """An agent in batched environments, each of which plays one episode that counts.

    Args:
        model: the agent.
        env: the environments, on the model's device.
        seed: of their episodes.
    """

    def __init__(self, model: ExpireSpanPPO, env: BatchedEnv, seed: int) -> None:
        self._actor, self._env = Actor(model, env.n_envs, deterministic=True), env
        self._obs = env.reset(seed)
        self._starts = torch.ones(env.n_envs, dtype=torch.bool, device=env.device)
        self.over = torch.zeros_like(self._starts)
        """Where the episode that counts has ended."""
        begun = env.get_state()
        self._returns, self._lengths = begun.returns.clone(), begun.steps.clone()
        self._places, self._successes = begun.places.clone(), torch.zeros_like(self._starts)
        # Live memories that each step saw, summed; of a core without slots, none.
        has_slots = isinstance(model.policy.core, ExpireSpanCore)
        self._live = torch.zeros_like(self._returns) if has_slots else None

        first_obs = self._obs.clone()

        def begin_again() -> None:
            env.set_state(begun)
            self._obs.copy_(first_obs)
            self._starts.fill_(True)
            self.over.fill_(False)
            if self._live is not None:
                self._live.zero_()

        # Not compiled: that takes longer than most evaluations.
        self.step = captured(self._step, begin_again, Machinery(model.device, compiles=False, captures=True))
        """Acts and steps once, everywhere."""

    def _step(self) -> None:
        step = self._actor.step(self._obs, self._starts)
        new = self._env.step(step.actions.reshape(-1))
        if isinstance(step.core, StepOutput):
            assert self._live is not None
            live = (step.core.masks > 0).sum(-1).double().mean(0)  # over the layers
            self._live += live.masked_fill(self.over, 0.0)
        ended = new.terminated | new.truncated
        counts = ended & ~self.over
        for kept, value in (
            (self._returns, new.episode_returns),
            (self._lengths, new.episode_lengths),
            (self._successes, new.is_success),
            (self._places, new.final_places),
        ):
            kept.copy_(torch.where(counts, value, kept))
        self.over |= ended
        self._obs.copy_(new.obs)
        self._starts.copy_(ended)

    def episodes(self) -> list[Episode]:
        """The episodes by the number of their environment, once all are over."""
        said = {name: values.tolist() for name, values in self._env.task.info(self._places).items()}
        lengths = self._lengths.tolist()
        live = None if self._live is None else self._live.tolist()
        return [
            Episode(
                seed=i,
                reward=reward,
                steps=steps,
                live_memories=None if live is None else live[i] / steps,
                success=success,
                cut_off=False,
                **{name: int(values[i]) for name, values in said.items()},
            )
            for i, (reward, steps, success) in enumerate(
                zip(self._returns.tolist(), lengths, self._successes.tolist(), strict=True)
            )
        ]
