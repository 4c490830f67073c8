"""How a training that failed is told of: one line for the user, the traceback in the run folder. How episodes are."""

import errno
import os
import re
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from agents.checkpoint import CheckpointError, CheckpointSeries
from envs.faults import EnvironmentFault
from experiments.errors import ActingFault, TrainingFault, UserError, one_line
from experiments.runs import CHECKPOINTS, ERROR

_TOLD = (CheckpointError, EnvironmentFault, FloatingPointError, UserError)
"""Their messages say enough; before others the exception's type is put."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FOLDER = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
"""What the system says of a folder that was taken away, or locked, since it was made."""
_TOO_LARGE = ("can't allocate memory", "Storage size calculation overflowed")
"""What PyTorch says of tensors on the host."""
_AMOUNT = re.compile(r"allocate ([\d.]+ \w+)")


def ended_by(error: Exception, run_dir: Path, timesteps: int, device: torch.device) -> TrainingFault:
    """What to tell of an exception that ended a training; leaves its traceback in the run folder, if there is room.

    Args:
        error: what was raised.
        run_dir: of the training.
        timesteps: done by then.
        device: of the model.
    """
    details = ""
    with suppress(OSError):
        (run_dir / ERROR).write_text("".join(traceback.format_exception(error)))
        details = f"; details in {run_dir / ERROR}"
    steps = CheckpointSeries(run_dir / CHECKPOINTS).steps()
    left = f"go on from step {steps[0]:,} with --resume {run_dir}" if steps else "there is no checkpoint yet"
    return TrainingFault(f"stopped after {timesteps:,} steps: {_told(error, run_dir, device)}; {left}{details}")


@contextmanager
def acting() -> Iterator[None]:
    """Within this block an agent acts and doesn't learn: an environment that fails is told in one line."""
    try:
        yield
    except (EnvironmentFault, FloatingPointError) as error:
        raise ActingFault(one_line(error)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: the device's, or that of the host, where PyTorch has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _TOO_LARGE)
    )


def told_of_memory(error: BaseException, device: torch.device) -> str:
    """What to say where memory ran out."""
    amount = _AMOUNT.search(str(error))
    more = f" ({amount[1]} more were asked for)" if amount else ""
    return (
        f"the memory of {device} is too small for these sizes{more}: fewer --n-envs, a smaller --batch-size or fewer "
        f"--slots need less"
    )


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Within this block TensorBoard's thread prints nothing of a file that it can't write: who writes next will tell
    of it."""
    before = threading.excepthook

    def hook(given: threading.ExceptHookArgs) -> None:
        if not (isinstance(given.exc_value, OSError) and type(given.thread).__module__.startswith("tensorboard.")):
            before(given)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _told(error: Exception, run_dir: Path, device: torch.device) -> str:
    if is_out_of_memory(error):
        return told_of_memory(error, device)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"{run_dir} can't be written: {error.strerror}: free some of its disk"
    if isinstance(error, OSError) and error.errno in _NO_FOLDER and _is_in(error.filename, run_dir):
        return f"{run_dir} can't be written: {error.strerror}: somebody has removed or locked it"
    return one_line(error) if isinstance(error, _TOLD) else f"{type(error).__name__}: {one_line(error)}"


def _is_in(name: str | bytes | int | None, folder: Path) -> bool:
    """Whether a file that the system named, or TensorBoard in bytes, lies in a folder."""
    return isinstance(name, str | bytes) and Path(os.fsdecode(name)).resolve().is_relative_to(folder.resolve())
