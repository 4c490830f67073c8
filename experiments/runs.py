"""Run folders: what lies in one, writing it whole or not at all, and loading it with one-line errors."""

import contextlib
import dataclasses
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from agents import ExpireSpanPPO
from agents.checkpoint import CheckpointError
from agents.checkpoint.lock import LOCK
from agents.saving.model import policy_kwargs_from_tree
from agents.saving.place import load_tree
from experiments.config import EnvConfig, TrainConfig
from experiments.environments import spaces_of
from experiments.errors import UserError, one_line, user_errors
from experiments.settings import SECTIONS, checked, kinds
from expire_span.version import __version__

FORMAT_VERSION = 3
"""Of the run folder. Raise it when a folder written before can no longer be read."""

CONFIG, MODEL, CHECKPOINTS, SUMMARY = "config.json", "model.safetensors", "checkpoints", "summary.json"
ERROR = "error.txt"
"""The traceback of what ended a training that shouldn't have ended."""
PEER = "model.zip"
"""The model of a run of `results` that isn't ours, as Stable-Baselines3 saves it."""
_OURS = (CONFIG, MODEL, PEER, SUMMARY, CHECKPOINTS, ERROR, "video.mp4", "progress*.csv", "events.out.tfevents.*")
_LIBRARIES = ("torch", "numpy", "gymnasium", "minigrid", "stable-baselines3", "sb3-contrib")
"""Whose versions a run's record has, of those that are installed."""


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to, moved to `path` when the block ends well and removed when it doesn't.

    So nobody ever finds half a file at `path`, and what lay there before stays until then. The suffix is kept.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_device(name: str) -> torch.device:
    """The device that `--device` names; "auto" is CUDA if there is any, else the CPU.

    Raises:
        UserError: if it isn't there, or isn't one.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name!r} isn't a device: take auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name!r} isn't supported: take auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UserError(f"--device {name!r}: PyTorch sees no CUDA device here; take cpu or auto")
        if (device.index or 0) >= count:
            raise UserError(f"--device {name!r}: there are {count} CUDA devices, take cuda:0 to cuda:{count - 1}")
    return device


def prepare(run_dir: Path, overwrite: bool) -> None:
    """Checks that a run may be written to `run_dir`; touches nothing.

    Raises:
        UserError: if something lies there that may not be replaced, or nothing can be written there.
    """
    _check_name(run_dir)
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"--run-dir {run_dir} is a file: give a new or empty folder")
    if run_dir.is_dir() and any(path.name != LOCK for path in run_dir.iterdir()):
        is_run = (run_dir / CONFIG).is_file()
        if not is_run:
            raise UserError(f"--run-dir {run_dir} isn't empty and no run of ours: give a new or empty folder")
        if not overwrite:
            raise UserError(
                f"--run-dir {run_dir} holds a run already: give a new folder, --overwrite to replace the run, "
                f"or --resume {run_dir} to go on with it"
            )
    existing = next(path for path in (run_dir.absolute(), *run_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"--run-dir {run_dir} can't be made: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"--run-dir {run_dir} can't be made: no permission to write in {existing}")


def _check_name(path: Path) -> None:
    """Raises a `UserError` for a name that the system can't have, or that nobody may look at."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else one_line(error)
        raise UserError(f"{str(path)!a} can't be a run's folder: {why}") from None


def create(run_dir: Path, config: TrainConfig, device: torch.device, command: str) -> None:
    """Makes the run folder, replacing a run that lies there, and writes `config.json`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for pattern in _OURS:
        for old in run_dir.glob(pattern):
            if old.is_dir():
                for checkpoint in old.glob("*.safetensors"):
                    checkpoint.unlink()
                with contextlib.suppress(OSError):
                    old.rmdir()
            else:
                old.unlink()
    record = {
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(config),
        "started": _start(command, device, timesteps=0),
        "continued": [],
    }
    write_json(run_dir / CONFIG, record)


def note_continuation(run_dir: Path, config: TrainConfig, device: torch.device, command: str, timesteps: int) -> None:
    """Adds to `config.json` that the run goes on from `timesteps`, with the settings as they are now."""
    record = json.loads((run_dir / CONFIG).read_text())
    record["config"] = dataclasses.asdict(config)
    record["continued"].append(_start(command, device, timesteps))
    write_json(run_dir / CONFIG, record)
    # What ended it the last time isn't what ends it now.
    (run_dir / ERROR).unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON to `path`, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def _start(command: str, device: torch.device, timesteps: int) -> dict[str, Any]:
    """What a run started from: when, how, on what."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command,
        "timesteps": timesteps,
        "device": str(device),
        "device_name": name,
        "versions": {
            "expire-span": __version__,
            "python": platform.python_version(),
            **{library: version for library in _LIBRARIES if (version := _version(library))},
        },
        "git": git_state(),
    }


def _version(library: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(library)
    return None


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that this package runs from, and whether it was changed; None outside of one."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        # An installed copy may lie in somebody else's checkout, whose commit would say nothing.
        git("ls-files", "--error-unmatch", here.name)
        # Results change no run.
        changed = git("status", "--porcelain", "--", ":(top)", ":(top,exclude)experiments/results/data")
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


@dataclass(frozen=True)
class Run:
    """A run folder that has been loaded."""

    path: Path
    config: TrainConfig
    model: ExpireSpanPPO

    def env_with(self, env_args: tuple[str, ...]) -> EnvConfig:
        """The training's environment with these arguments besides.

        Raises:
            UserError: if there is no such environment, or the agent doesn't fit it.
        """
        if not env_args:
            return self.config.env
        changed = self.config.env.with_args(env_args)
        observations, actions = spaces_of(changed)
        for word, its, new in (
            ("observations", self.model.observation_space, observations),
            ("actions", self.model.action_space, actions),
        ):
            if its != new:
                raise UserError(
                    f"--env-args: the agent was trained on {word} {its}, not {new}: leave out what changes them"
                )
        return changed


def read_config(run_dir: Path) -> TrainConfig:
    """The settings of the run in `run_dir`.

    Raises:
        UserError: if it isn't a run folder, or one of another version.
    """
    _check_name(run_dir)
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} isn't a folder: give the folder that `expire-span train --run-dir` wrote")
    path = run_dir / CONFIG
    if not path.is_file():
        raise UserError(f"{run_dir} isn't a run folder: it has no {CONFIG}, as `expire-span train` writes it")
    try:
        record = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} isn't JSON ({one_line(error)}): the run can't be read") from None
    version = record.get("format_version") if isinstance(record, dict) else None
    if version is None:
        raise UserError(f"{path} isn't of a run: it has no format_version, as `expire-span train` writes it")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{run_dir} is a run of format {version}, this is expire-span {__version__}, which reads format "
            f"{FORMAT_VERSION}: take the version that wrote it ({_written_by(record)}), or train anew"
        )
    try:
        return config_from_dict(record["config"])
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(
            f"{path} doesn't fit expire-span {__version__} ({one_line(error)}): take the version that wrote it "
            f"({_written_by(record)}), or train anew"
        ) from None


def _written_by(record: dict[str, Any]) -> str:
    try:
        return f"expire-span {record['started']['versions']['expire-span']}"
    except (KeyError, TypeError):
        return "unknown"


def config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """The inverse of `dataclasses.asdict`, after a detour through JSON.

    Raises:
        KeyError: if a section is missing.
        UserError: for an unknown setting, or a value that it can't have.
    """
    sections = {name: kind(**checked(name, values[name], kinds(kind))) for name, kind in SECTIONS.items()}
    top = {name: value for name, value in values.items() if name not in SECTIONS}
    return TrainConfig(**checked("config", top, kinds(TrainConfig)), **sections)


def check_is_ours(run_dir: Path) -> None:
    """Raises a `UserError` for a run of RecurrentPPO."""
    if (run_dir / PEER).is_file():
        raise UserError(
            f"{run_dir} is a run of RecurrentPPO's, which `expire-span results` alone goes on with and judges"
        )


def load(run_dir: Path, device_name: str, slots: int | None = None) -> Run:
    """The settings and the newest model of the run in `run_dir`.

    Args:
        run_dir: the run folder.
        device_name: as `--device`.
        slots: for the agent to act with, in place of those it was trained with; no weight depends on them.

    Raises:
        UserError: if it isn't a run folder, has no model yet or a broken one, is of another version, its core has no
            slots to change, or the device isn't there.
    """
    config = read_config(run_dir)
    device = check_device(device_name)
    check_is_ours(run_dir)
    path = run_dir / MODEL
    if not path.is_file():
        raise UserError(f"{run_dir} has no {MODEL}: its training was stopped before the first checkpoint")
    with user_errors(CheckpointError):
        tree = load_tree(path)
    with user_errors(ValueError, prefix=f"{path} can't be loaded: "):
        changed = {}
        if slots is not None:
            if config.core.memory not in ("expire-span", "transformer-xl"):
                raise UserError(f"--slots {slots}: {run_dir} has a core without slots ({config.core.memory})")
            kwargs = policy_kwargs_from_tree(tree) | {"slots": slots}
            if kwargs.get("spans") == "fixed":
                # A Transformer-XL of before, whose spans were a setting; they must last until a slot is needed.
                kwargs["max_span"] = float(max(kwargs["max_span"], slots))
            changed["policy_kwargs"] = kwargs
        model = ExpireSpanPPO.load(tree, device=device, custom_objects=changed)
    observations, actions = spaces_of(config.env)
    if (model.observation_space, model.action_space) != (observations, actions):
        raise UserError(
            f"{path} isn't of this run: it reads {model.observation_space} and acts in {model.action_space}, "
            f"{config.env.env_id} gives {observations} and takes {actions}"
        )
    return Run(run_dir, config, model)
