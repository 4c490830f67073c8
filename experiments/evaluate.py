"""`expire-span evaluate`."""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

import envs
from agents import ExpireSpanPPO
from agents.action_masks import uses_masks
from agents.finite import check_finite
from experiments import pretrained, runs
from experiments.acting import Actor, Acts, live_memories, masks_of
from experiments.config import MOST_THREADS, EnvConfig, EvaluateConfig, check_within
from experiments.environments import CUT_OFF, fresh_seeds, seeded_envs
from experiments.episodes import Episode, correct_turn_rate, mean, success_by_length, success_summary, turns_taken
from experiments.errors import UserError, say, user_errors
from experiments.faults import acting
from experiments.output import kept_for_the_result

MOST_SLOTS = 100_000
"""That an agent can be given to act with."""
SAY_EVERY = 30.0
"""Seconds after which it is said how far an evaluation is: there are environments whose episodes never end."""


def play(
    model: ExpireSpanPPO,
    env: EnvConfig,
    seeds: Sequence[int],
    n_envs: int = 16,
    deterministic: bool = True,
    max_steps: int | None = None,
) -> list[Episode]:
    """Plays one episode for each seed.

    Environment j of n plays the episodes j, j + n, j + 2n, …, however long they take: were each new episode given
    to whichever environment is free and the first so many counted, short episodes would be counted more often.

    Args:
        model: the agent.
        env: the environment.
        seeds: of the episodes, each used in the episode's reset.
        n_envs: environments side by side, at most one for each seed.
        deterministic: take the likeliest actions; else sample.
        max_steps: of an episode, which is cut off then and counts as it stands; None plays each to its end.

    Returns:
        The episodes in the order of the seeds.

    Raises:
        EnvironmentFault, FloatingPointError: of environments that fail, as in a training.
    """
    shares = shared_out(len(seeds), n_envs)
    n_envs = len(shares)
    vec_env = seeded_envs(env, [[seeds[i] for i in share] for share in shares], max_steps)
    try:
        actor, masked = Actor(model, n_envs, deterministic), uses_masks(vec_env, model.use_masking)
        return play_in(vec_env, actor, shares, seeds, masked)
    finally:
        vec_env.close()


def shared_out(episodes: int, n_envs: int) -> list[list[int]]:
    """The numbers of the episodes that each of so many environments plays, at least one each."""
    n_envs = min(n_envs, episodes)
    return [list(range(j, episodes, n_envs)) for j in range(n_envs)]


def play_in(
    vec_env: VecEnv, actor: Acts, shares: list[list[int]], seeds: Sequence[int], masked: bool = False
) -> list[Episode]:
    """Plays in environments of which the i-th begins the episodes `shares[i]`, by their numbers, one after the other.

    Args:
        vec_env: the environments.
        actor: acts in all of them.
        shares: the numbers of each environment's episodes.
        seeds: what stands as the seed of each episode.
        masked: whether the environments say which actions may be taken.

    Returns:
        The episodes in the order of their numbers.
    """
    n_envs = len(shares)
    episodes: dict[int, Episode] = {}
    done_of = [0] * n_envs
    live = np.zeros(n_envs)
    steps, said = 0, time.monotonic()
    observations, starts = vec_env.reset(), np.ones(n_envs, dtype=bool)
    while len(episodes) < len(seeds):
        if time.monotonic() - said >= SAY_EVERY:
            hint = "" if episodes else "; where they never end, evaluate's --max-steps cuts them off"
            say(f"{len(episodes)} of {len(seeds)} episodes have ended, after {steps * n_envs:,} steps{hint}")
            said = time.monotonic()
        check_finite(observations, "observation", steps, of="the evaluation")
        actions, step = actor.act(observations, starts, masks_of(vec_env) if masked else None)
        seen = live_memories(step)
        live += 0 if seen is None else seen
        observations, rewards, starts, infos = vec_env.step(actions)
        steps += 1
        check_finite(rewards, "reward", steps, of="the evaluation")
        for j in np.flatnonzero(starts):
            if done_of[j] < len(shares[j]):
                index = shares[j][done_of[j]]
                episodes[index] = _episode(seeds[index], infos[j], None if seen is None else float(live[j]))
                done_of[j] += 1
            live[j] = 0.0
    return [episodes[index] for index in range(len(seeds))]


def _episode(seed: int, info: dict[str, Any], live: float | None) -> Episode:
    steps = int(info["episode"]["l"])
    success = info.get("is_success")
    names = ("corridor_length", "turns", "correct_turns")
    # Others' environments may call anything so.
    counts = {name: int(info[name]) for name in names if isinstance(info.get(name), int | np.integer)}
    if "correct_turns" not in counts:
        counts.pop("turns", None)  # games count turns, too; those that are right or wrong are meant
    return Episode(
        seed=seed,
        reward=float(info["episode"]["r"]),
        steps=steps,
        live_memories=None if live is None else live / steps,
        success=None if success is None else bool(success),
        cut_off=CUT_OFF in info,
        **counts,
    )


def summarise(episodes: Sequence[Episode], levels: Sequence[Episode] | None) -> dict[str, Any]:
    """What `evaluate --json` says of the episodes, and of the levels where the task has few."""
    summary = success_summary(episodes)
    if summary["success_rate"] is None:
        silent = sum(episode.success is None for episode in episodes)
        summary["success_missing"] = f"{silent} of {len(episodes)} episodes ended without is_success in their info"
    returns = [episode.reward for episode in episodes]
    summary |= {
        "mean_return": mean(returns),
        "std_return": float(np.std(returns)),
        "mean_length": mean([episode.steps for episode in episodes]),
        "live_memories": _live_a_step(episodes),
        "episodes": len(episodes),
        "success_by_length": success_by_length(episodes),
        "correct_turn_rate": correct_turn_rate(episodes),
        "turns": turns_taken(episodes),
        "levels": None,
        "levels_solved": None,
    }
    if levels is not None:
        summary |= {"levels": len(levels), "levels_solved": sum(bool(level.success) for level in levels)}
    return summary


def _live_a_step(episodes: Sequence[Episode]) -> float | None:
    """Mean over all steps, so a long episode counts more than a short one; None of a core without slots."""
    counted = [(episode.live_memories, episode.steps) for episode in episodes if episode.live_memories is not None]
    return sum(live * steps for live, steps in counted) / sum(steps for _, steps in counted) if counted else None


def evaluate(config: EvaluateConfig) -> int:
    """Runs `expire-span evaluate`; prints the result on standard output and returns 0.

    Raises:
        UserError: for a folder that isn't a run's, settings out of range, an environment that the agent doesn't fit, or
            one that fails.
    """
    seeds = fresh_seeds(config.seed, config.episodes)
    check_within("n-envs", config.n_envs, 1)
    if config.max_steps is not None:
        check_within("max-steps", config.max_steps, 1)
    if config.slots is not None and not 1 <= config.slots <= MOST_SLOTS:
        raise UserError(f"--slots {config.slots}: must be between 1 and {MOST_SLOTS}")
    check_within("torch-threads", config.torch_threads, 1, MOST_THREADS)
    torch.set_num_threads(config.torch_threads)
    with kept_for_the_result():
        result = _result(config, seeds)
    print(json.dumps(result, allow_nan=False, default=str) if config.json else "\n".join(_lines(result)))
    return 0


def _result(config: EvaluateConfig, seeds: list[int]) -> dict[str, Any]:
    """Plays the episodes, and the levels, and says what came of it."""
    run_dir = pretrained.chosen(config.run_dir, config.pretrained)
    run = runs.load(run_dir, config.device, config.slots)
    env, deterministic = run.env_with(config.env_args), not config.sampled
    run.model.set_random_seed(config.seed)
    with user_errors(ValueError):
        level_seeds = envs.levels(env.env_id, **env.env_kwargs)

    def played(seeds: Sequence[int]) -> list[Episode]:
        return play(run.model, env, seeds, config.n_envs, deterministic, config.max_steps)

    with acting():
        episodes, levels = played(seeds), None if level_seeds is None else played(level_seeds)
    return {
        "run": config.pretrained or str(run.path),
        "env": env.env_id,
        "env_args": env.env_kwargs,
        "timesteps": run.model.num_timesteps,
        "slots": config.slots if config.slots is not None else run.config.core.slots_of_a_layer,
        "max_steps": config.max_steps,
        "cut_off": sum(episode.cut_off for episode in (*episodes, *(levels or ()))),
        "actions": "deterministic" if deterministic else "sampled",
        "seeds": [seeds[0], seeds[-1]],
        "device": str(run.model.device),
        **summarise(episodes, levels),
    }


def _lines(result: dict[str, Any]) -> list[str]:
    arguments = " ".join(f"{name}={value}" for name, value in result["env_args"].items())
    lines = [
        f"{result['run']}: {' '.join((result['env'], arguments)).strip()}, trained for {result['timesteps']:,} steps"
        f"{'' if result['slots'] is None else ', slots to act with: ' + str(result['slots'])}",
        f"episodes:      {result['episodes']}, {result['actions']} actions, fresh seeds "
        f"{result['seeds'][0]} to {result['seeds'][1]} (training's lie below 10**9)",
        f"success:       {_success(result) or 'unknown: ' + str(result.get('success_missing'))}",
        f"return:        {result['mean_return']:.3f} (standard deviation {result['std_return']:.3f})",
        f"length:        {result['mean_length']:.1f} steps",
    ]
    if result["cut_off"]:
        lines.append(
            f"cut off:       {result['cut_off']} episodes, after {result['max_steps']:,} steps (--max-steps); they "
            f"count as they stood then"
        )
    if result["live_memories"] is not None:
        lines.append(f"live memories: {result['live_memories']:.1f} a step and layer")
    if result["correct_turn_rate"] is not None:
        lines.append(f"right turns:   {result['correct_turn_rate']:.4f} of {result['turns']:,}")
    for name, part in (result["success_by_length"] or {}).items():
        lines.append(f"  length {name + ':':8} {_success(part) or 'unknown'} in {part['episodes']} episodes")
    if result["levels"] is not None:
        lines.append(f"levels:        {result['levels_solved']} of {result['levels']} solved")
    return lines


def _success(part: dict[str, Any]) -> str | None:
    if part["success_rate"] is None:
        return None
    low, high = part["success_interval"]
    return f"{part['success_rate']:.3f} (95 % interval {low:.3f} to {high:.3f})"
