"""The evaluation of a trained agent: fresh episodes, the same for all agents and seeds, and the likeliest actions."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import envs
from experiments import runs
from experiments.batched_play import play_batched
from experiments.callbacks import StopRequest
from experiments.config import EnvConfig
from experiments.environments import TRAINING_SEEDS, fresh_seeds, seeded_envs, training_envs
from experiments.episodes import Episode, correct_turn_rate
from experiments.errors import user_errors
from experiments.evaluate import play, play_in, shared_out, summarise
from experiments.results import recurrent_ppo
from experiments.results.matrix import Cell

_SIDE_BY_SIDE = 64
"""Environments of an evaluation."""
_PORTION = 256
"""Episodes of an evaluation after which it looks whether it is to stop."""


def judged(cell: Cell, device: str, request: StopRequest) -> dict[str, Any] | None:
    """Plays the episodes of a trained agent's evaluation, and says what they came to.

    Args:
        cell: whose training is over.
        device: as `--device`.
        request: a stop that is asked for meanwhile.

    Returns:
        As `RunRecord.evaluation`; None once it is stopped.
    """
    how = cell.definition.evaluation
    env = cell.config.env.with_args(how.env_args, "evaluation's env_args")
    with user_errors(ValueError):
        level_seeds = envs.levels(env.env_id, **env.env_kwargs)
    player = (_Peer if cell.agent == recurrent_ppo.NAME else _Ours)(cell.run_dir, device, request)
    if env.vec_env == "batched":
        episodes = player.play_batched(env, how.episodes)
    else:
        episodes = _portions(player, env, fresh_seeds(0, how.episodes), request)
    levels = _portions(player, env, level_seeds or [], request)
    if episodes is None or levels is None:
        return None
    summary = summarise(episodes, levels if level_seeds else None)
    successes = [bool(episode.success) for episode in episodes if episode.success is not None]
    return {
        "env_args": env.env_kwargs,
        "successes": sum(successes) if successes else None,
        **summary,
        "correct_turn_rate": correct_turn_rate(episodes, how.turns),
    }


class _Ours:
    """Our agent, as it plays the episodes of an evaluation, with the likeliest actions."""

    def __init__(self, run_dir: Path, device: str, request: StopRequest) -> None:
        self._model, self._request = runs.load(run_dir, device).model, request

    def play(self, env: EnvConfig, seeds: Sequence[int]) -> list[Episode]:
        """An episode for each seed, in Python's environments."""
        return play(self._model, env, seeds, _SIDE_BY_SIDE)

    def play_batched(self, env: EnvConfig, episodes: int) -> list[Episode] | None:
        """As many in batched ones; None if a stop was asked for meanwhile."""
        return play_batched(self._model, env, TRAINING_SEEDS, episodes, lambda: bool(self._request.signal))


class _Peer:
    """RecurrentPPO, as it plays the same episodes."""

    def __init__(self, run_dir: Path, device: str, request: StopRequest) -> None:
        self._device, self._request = runs.check_device(device), request
        self._model = recurrent_ppo.load(run_dir, self._device)

    def play(self, env: EnvConfig, seeds: Sequence[int]) -> list[Episode]:
        """An episode for each seed, in Python's environments."""
        shares = shared_out(len(seeds), _SIDE_BY_SIDE)
        with contextlib.closing(seeded_envs(env, [[seeds[i] for i in share] for share in shares])) as vec_env:
            return play_in(vec_env, recurrent_ppo.RecurrentActor(self._model), shares, seeds)

    def play_batched(self, env: EnvConfig, episodes: int) -> list[Episode] | None:
        """As many in batched ones; None if a stop was asked for meanwhile."""
        numbers = range(episodes)
        many = dataclasses.replace(env, n_envs=episodes)
        with contextlib.closing(training_envs(many, TRAINING_SEEDS, self._device)) as vec_env:
            actor = recurrent_ppo.RecurrentActor(self._model, lambda: bool(self._request.signal))
            with contextlib.suppress(recurrent_ppo.Stopped):
                return play_in(vec_env, actor, [[i] for i in numbers], numbers)
        return None


def _portions(
    player: _Ours | _Peer, env: EnvConfig, seeds: Sequence[int], request: StopRequest
) -> list[Episode] | None:
    episodes: list[Episode] = []
    for start in itertools.count(0, _PORTION):
        portion = seeds[start : start + _PORTION]
        if not portion:
            return episodes
        if request.signal:
            return None
        episodes += player.play(env, portion)
    raise AssertionError
