"""A training about to begin, from scratch or from where it was left."""

import dataclasses
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecEnv

from agents import ExpireSpanPPO
from agents.checkpoint import CheckpointError, CheckpointSeries
from envs.faults import FAULTS, EnvironmentFault, told
from experiments import runs
from experiments.config import TrainConfig
from experiments.environments import training_envs
from experiments.errors import UserError, one_line, say, user_errors
from experiments.model import build_model

MAY_CHANGE = {
    *("total_timesteps", "stop_at_success", "device", "torch_threads", "checkpoint_every", "keep_checkpoints"),
    *("progress", "resume", "run_dir", "overwrite", "env.vec_env", "env.n_workers", "env.env_timeout"),
}
"""Settings that may differ when a run is gone on with; the others made the model what it is."""


@dataclass
class Session:
    """A training about to begin: everything is checked, nothing is written yet."""

    config: TrainConfig
    run_dir: Path
    device: torch.device
    model: ExpireSpanPPO
    vec_env: VecEnv
    resumed: bool = False


def default_run_dir(config: TrainConfig) -> str:
    """`runs/corridor-seed0` for a preset, `runs/MiniGrid-MemoryS9-v0-seed0` without one."""
    name = config.preset or config.env.env_id.rpartition(":")[2].replace("/", "-")
    return f"runs/{name}-seed{config.seed}"


def _envs(config: TrainConfig, device: torch.device) -> VecEnv:
    """The environments. Raises a `UserError` whatever is wrong with them: they are the user's."""
    try:
        return training_envs(config.env, config.seed, device)
    except UserError:
        raise
    except FAULTS as error:
        said = one_line(error) if isinstance(error, EnvironmentFault) else told(error)
        raise UserError(f"{config.env.env_id} can't be made: {said}") from error


def new_session(config: TrainConfig) -> Session:
    """A training from scratch. Raises a `UserError` for anything that can't be."""
    run_dir = Path(config.run_dir or default_run_dir(config))
    runs.prepare(run_dir, config.overwrite)
    device = runs.check_device(config.device)
    vec_env = _envs(config, device)
    try:
        model = build_model(config, vec_env, device)
    except BaseException:
        vec_env.close()
        raise
    return Session(dataclasses.replace(config, run_dir=str(run_dir)), run_dir, device, model, vec_env)


def changed_settings(before: TrainConfig, now: TrainConfig) -> list[str]:
    """Flags of the settings that differ and may not."""

    def flat(config: TrainConfig) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in dataclasses.asdict(config).items():
            if isinstance(value, dict):
                values |= {f"{name}.{part}": inner for part, inner in value.items()}
            else:
                values[name] = value
        return values

    old, new = flat(before), flat(now)
    return [name for name in old if old[name] != new[name] and name not in MAY_CHANGE]


def resumed_session(config: TrainConfig) -> Session:
    """A training that goes on from a run's newest whole checkpoint. Raises a `UserError` where that can't be."""
    run_dir = Path(config.resume or "")
    if config.run_dir is not None or config.overwrite:
        raise UserError("--resume goes on in the run's own folder: leave out --run-dir and --overwrite")
    before = runs.read_config(run_dir)
    runs.check_is_ours(run_dir)
    for name in changed_settings(before, config):
        flag = name.rpartition(".")[2].replace("_", "-").replace("env-id", "env")
        raise UserError(f"--{flag} can't change when going on with {run_dir}: leave it out, or train anew")
    device = runs.check_device(config.device)
    checkpoints = CheckpointSeries(run_dir / runs.CHECKPOINTS)
    if not checkpoints.steps():
        raise UserError(
            f"{run_dir} has no checkpoint yet: its training was stopped before the first; begin anew with --run-dir "
            f"{run_dir} --overwrite"
        )
    with user_errors(CheckpointError):
        newest = checkpoints.newest()
    for reason in newest.skipped:
        say(f"note: a newer checkpoint is passed over: {reason}")
    if newest.step >= config.total_timesteps:
        raise UserError(f"{run_dir} has done {newest.step} steps already: give --total-timesteps above that")
    vec_env = _envs(config, device)
    try:
        with user_errors(ValueError, prefix=f"{newest.path}: "):
            model, note = ExpireSpanPPO.resume(newest.tree, vec_env, device)
            checkpoints.discard_after(newest.step)
    except BaseException:
        vec_env.close()
        raise
    if note is not None:
        say(f"note: {note}")
    config = dataclasses.replace(config, run_dir=str(run_dir), resume=None, overwrite=False)
    return Session(config, run_dir, device, model, vec_env, resumed=True)


def make_room() -> None:
    """Lets go of what an ended training holds on a device, in objects that refer to each other in circles."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
