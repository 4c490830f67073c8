"""One run of the matrix: trained to its end or to a stop, then judged, then written down."""

import contextlib
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import torch

from agents.checkpoint import CheckpointSeries
from experiments import runs
from experiments.bench.memory import peak_memory_mib
from experiments.callbacks import OurCallback, StopRequest
from experiments.config import ResultsConfig, TrainConfig
from experiments.errors import UserError, user_errors
from experiments.results import recurrent_ppo
from experiments.results.cue_spans import LogsSpansOfCue, has_cue
from experiments.results.curve import first_at, read_points, thinned
from experiments.results.judgement import judged
from experiments.results.matrix import Cell, settings_of
from experiments.results.record import RunRecord, write_record
from experiments.session import Session, make_room, new_session, resumed_session
from experiments.train import run_session

CHECKPOINTS_A_RUN = 20
"""Checkpoints that a training makes if nothing stops it."""
MEASUREMENTS_A_RUN = 20
"""How often the spans of cues are measured in it."""
MEMORY = "peak_memory.json"
"""In a run folder: the most memory that a session needed which ended well."""


def run_cell(cell: Cell, config: ResultsConfig, request: StopRequest, command: str) -> RunRecord | None:
    """Runs a cell from wherever it was left, and writes its result.

    Args:
        cell: whose run folder nobody else uses.
        config: device and threads.
        request: stops the run when it is made; it is saved then.
        command: for the run folder's record.

    Returns:
        The result; None if it was stopped before.

    Raises:
        UserError: for what a training can't do, or a run folder with other settings.
    """
    torch.set_num_threads(config.torch_threads)
    _check_settings(cell)
    if not _is_trained(cell.run_dir) and not _train(cell, config, request, command):
        return None
    evaluation = judged(cell, config.device, request)
    if evaluation is None:
        return None
    record = _record(cell, evaluation)
    with user_errors(OSError, prefix=f"{cell.record} can't be written: "):
        write_record(cell.record, record)
    return record


def _check_settings(cell: Cell) -> None:
    """Raises a `UserError` if the run folder has a run of other settings."""
    if not (cell.run_dir / runs.CONFIG).is_file():
        return
    before = settings_of(runs.read_config(cell.run_dir), cell.definition)
    changed = cell.differences(before)
    if changed:
        raise UserError(f"{cell.run_dir} is a run of other settings ({', '.join(changed)}): remove it to run anew")


def _is_trained(run_dir: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        summary = json.loads((run_dir / runs.SUMMARY).read_text())
        return bool(summary["stopped_by"] != "signal")
    return False


def _train(cell: Cell, config: ResultsConfig, request: StopRequest, command: str) -> bool:
    """Trains; whether to the end."""
    settings = dataclasses.replace(
        cell.config,
        device=config.device,
        torch_threads=config.torch_threads,
        checkpoint_every=max(1, cell.config.total_timesteps // CHECKPOINTS_A_RUN),
        # What several would show of their progress can't be told apart.
        progress="auto" if config.workers == 1 else "none",
    )
    device = runs.check_device(config.device)
    _forget_peak(device)
    try:
        if cell.agent == recurrent_ppo.NAME:
            is_done = recurrent_ppo.train(settings, cell.run_dir, request, command)
        else:
            is_done = _train_ours(cell, settings, request, command)
        _note_peak(cell.run_dir, peak_memory_mib(device))
    finally:
        make_room()
    return is_done


def _train_ours(cell: Cell, settings: TrainConfig, request: StopRequest, command: str) -> bool:
    session = _session(settings, cell.run_dir, command)
    with contextlib.closing(session.vec_env):
        return bool(run_session(session, request, *_probes(cell))["stopped_by"] != "signal")


def _probes(cell: Cell) -> list[OurCallback]:
    """What is measured beside the training: of the expiring memory, how long cues live."""
    if cell.config.core.memory != "expire-span" or not has_cue(cell.config.env):
        return []
    return [LogsSpansOfCue(cell.config.env, max(1, cell.config.total_timesteps // MEASUREMENTS_A_RUN))]


def _session(settings: TrainConfig, run_dir: Path, command: str) -> Session:
    """The training, gone on with if there is a checkpoint, and noted in the run folder."""
    checkpoints = CheckpointSeries(run_dir / runs.CHECKPOINTS)
    steps = checkpoints.steps()
    if steps and steps[0] >= settings.total_timesteps:
        # It was killed between its last checkpoint and its end: the last steps once more.
        steps = steps[1:]
        if steps:
            checkpoints.discard_after(steps[0])
    with user_errors(OSError, prefix=f"{run_dir} can't be written: "):
        if steps:
            # What the agent has no use for may have been set otherwise then (`_check_settings`).
            then = runs.read_config(run_dir)
            settings = dataclasses.replace(settings, core=then.core, agent=then.agent)
            session = resumed_session(dataclasses.replace(settings, resume=str(run_dir)))
            done = session.model.num_timesteps
            runs.note_continuation(run_dir, session.config, session.device, command, done)
        else:
            session = new_session(dataclasses.replace(settings, run_dir=str(run_dir), overwrite=True))
            (run_dir / MEMORY).unlink(missing_ok=True)
            runs.create(run_dir, session.config, session.device, command)
    return session


def _forget_peak(device: torch.device) -> None:
    """What was in use before this run isn't its."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # where there is no Linux, the peak is that of the process
            Path("/proc/self/clear_refs").write_text("5")


def _note_peak(run_dir: Path, mib: float) -> None:
    runs.write_json(run_dir / MEMORY, max(mib, _peak(run_dir) or 0.0))


def _peak(run_dir: Path) -> float | None:
    path = run_dir / MEMORY
    return float(json.loads(path.read_text())) if path.is_file() else None


def _record(cell: Cell, evaluation: dict[str, Any]) -> RunRecord:
    """The result of a run that is trained and judged."""
    begun = json.loads((cell.run_dir / runs.CONFIG).read_text())["started"]
    points = read_points(cell.run_dir)
    seconds = points[-1].seconds if points else 0.0
    steps = int(json.loads((cell.run_dir / runs.SUMMARY).read_text())["timesteps"])
    window = cell.config.agent.stats_window_size
    learned = first_at(points, cell.definition.objective, cell.definition.goal, window)
    return RunRecord(
        task=cell.task,
        agent=cell.agent,
        seed=cell.seed,
        settings=cell.settings(),
        git=begun["git"],
        versions=begun["versions"],
        device_name=begun["device_name"],
        steps=steps,
        seconds=round(seconds, 1),
        steps_per_second=round(steps / max(seconds, 1.0), 1),
        peak_memory_mib=_peak(cell.run_dir),
        goal_steps=learned.steps if learned else None,
        goal_seconds=round(learned.seconds, 1) if learned else None,
        slots=cell.config.core.slots_of_a_layer,
        curve=thinned(points),
        evaluation={name: _finite(value) for name, value in evaluation.items()},
    )


def _finite(value: Any) -> Any:
    """JSON knows no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
