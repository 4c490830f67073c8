"""`expire-span record`."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from envs.faults import close
from experiments import pretrained, runs, video
from experiments.config import MOST_THREADS, EnvConfig, RecordConfig, check_within
from experiments.drawing import Painter
from experiments.environments import SeededEpisodes, fresh_seeds, make, monitored
from experiments.errors import UserError
from experiments.faults import acting
from experiments.moments import RecordedEpisode, record_episode
from expire_span import ExpireSpanCore

HOLD_SECONDS = 1.5
"""How long the end of an episode is shown."""


def record(config: RecordConfig) -> int:
    """Runs `expire-span record`; returns 0.

    Raises:
        UserError: for a folder that isn't a run's, an output that can't be written, an environment that doesn't
            render, or settings out of range, all before any episode is played; or one that fails.
    """
    # Environments that draw with SDL would look for a screen, which pixels don't need.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    run_dir = pretrained.chosen(config.run_dir, config.pretrained)
    seeds = fresh_seeds(config.seed, config.episodes)
    check_within("max-steps", config.max_steps, 1)
    check_within("torch-threads", config.torch_threads, 1, MOST_THREADS)
    if not 0.1 <= config.fps <= 50:
        raise UserError(f"--fps {config.fps}: must be between 0.1 and 50")
    runs.read_config(run_dir)
    # The package's own folder isn't the user's to write in.
    by_default = run_dir / "video.mp4" if config.pretrained is None else Path(f"{config.pretrained}.mp4")
    output = Path(config.output) if config.output is not None else by_default
    video.check_output(output)
    torch.set_num_threads(config.torch_threads)
    run = runs.load(run_dir, config.device)
    run.model.set_random_seed(config.seed)
    env_config = run.env_with(config.env_args)
    if output.suffix.lower() == ".png":
        seeds = seeds[:1]
    with acting():
        episodes = record_episodes(run, env_config, seeds, not config.sampled, config.max_steps)
    core = run.model.policy.core
    slots = core.slots if isinstance(core, ExpireSpanCore) else 0
    painter = Painter(episodes, env_config.env_id.rpartition("/")[2], slots)
    count = video.write(output, _pictures(painter, episodes, config.fps, output.suffix.lower()), config.fps)
    outcomes = [episode.moments[-1].outcome for episode in episodes]
    solved = f", {outcomes.count('success')} of them solved" if "the end" not in outcomes else ""
    print(f"{output}: {_counted(len(episodes), 'episode')}{solved}, {_counted(count, 'picture')}")
    return 0


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def record_episodes(
    run: runs.Run, env_config: EnvConfig, seeds: list[int], deterministic: bool, max_steps: int
) -> list[RecordedEpisode]:
    """Plays and records one episode for each seed.

    Raises:
        UserError: if the environment can't be rendered.
    """
    try:
        env = make(env_config, render_mode="rgb_array")
    except UserError as error:
        raise UserError(f"{env_config.env_id} can't be recorded: {error}") from error
    if "rgb_array" not in env.metadata.get("render_modes", ()):
        close(env, env_config.env_id)
        raise UserError(f"{env_config.env_id} can't be recorded: it doesn't render to pixels (rgb_array)")
    seeded = monitored(SeededEpisodes(env, seeds), 0)
    progress = tqdm(seeds, desc="episodes", disable=not sys.stderr.isatty(), file=sys.stderr, leave=False)
    try:
        return [
            record_episode(seeded, run.model, number, deterministic, max_steps)
            for number, _ in enumerate(progress, start=1)
        ]
    finally:
        seeded.close()


def _pictures(painter: Painter, episodes: list[RecordedEpisode], fps: float, suffix: str) -> Iterator[Image.Image]:
    hold = max(1, round(HOLD_SECONDS * fps))
    for number, episode in enumerate(episodes):
        last = len(episode.moments) - 1
        if suffix == ".png":
            # The last step that acts: after it the memories are the same, but nothing is decided any more.
            yield painter.paint(number, last - 1)
            continue
        for index in range(last):
            yield painter.paint(number, index)
        final = painter.paint(number, last)
        for _ in range(hold):
            yield final
