"""What grows in a long training: `python -m experiments.growth`, a million steps of a tiny agent, seen from outside.

The training is that of the command line, in a process of its own whose memory is read in `/proc`, as Linux has it.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from experiments.errors import UserError, status_after
from experiments.progress_log import FILE, read_rows
from experiments.whole_numbers import REGISTRY

FLAGS = (
    *("--env", "MiniGrid-MemoryS7-v0", "--env-args", "agent_view_size=3", "--vec-env", "batched", "--n-envs", "64"),
    *("--dim", "16", "--depth", "1", "--heads", "2", "--slots", "8", "--max-span", "20", "--ramp-length", "4"),
    *("--n-steps", "32", "--batch-size", "2048", "--n-epochs", "1", "--device", "cpu", "--progress", "none"),
)
"""Of the training: as many rollouts a second as may be."""
_EVERY = 0.2
"""Seconds between two looks."""


@dataclass(frozen=True)
class GrowthConfig:
    """Train, and tell how memory and files have grown."""

    total_timesteps: int = 1_000_000
    """Environment steps to train for."""
    warm: int = 100_000
    """Steps after which growth is counted."""


class Look(NamedTuple):
    """A look at a training."""

    timesteps: int
    megabytes: float
    """Of memory that the process holds."""


def watched(run_dir: Path, total_timesteps: int) -> list[Look]:
    """Trains in a process of its own, and looks at it until it ends.

    Args:
        run_dir: for the training; new.
        total_timesteps: to train for.

    Raises:
        UserError: if the training fails, with its own words.
    """
    command = [sys.executable, "-m", "experiments", "train", *FLAGS, "--run-dir", str(run_dir)]
    looks: list[Look] = []
    with subprocess.Popen(
        [*command, "--total-timesteps", str(total_timesteps)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            while process.poll() is None:
                megabytes, timesteps = _resident(process.pid), logged_steps(run_dir)
                if megabytes and timesteps:
                    looks.append(Look(timesteps, megabytes))
                time.sleep(_EVERY)
        finally:
            process.kill()
        if process.returncode != 0:
            raise UserError(f"the training ended with status {process.returncode}: {process.stderr.read().strip()}")
    return looks


def logged_steps(run_dir: Path) -> int:
    """Steps done at the last line of the log; 0 where there is none yet."""
    rows = read_rows(run_dir)
    return rows[-1].steps if rows else 0


def _resident(process: int) -> float:
    """Megabytes that a process holds; 0 once it has ended."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def report(run_dir: Path, looks: list[Look], warm: int) -> str:
    """Memory at the first look after `warm` steps and at the last one; the files, and a rollout's share of each."""
    first = next((look for look in looks if look.timesteps >= warm), looks[-1])
    last = looks[-1]
    rollouts = sum(1 for _ in (run_dir / FILE).open()) - 1
    sizes = {
        name: sum(path.stat().st_size for path in run_dir.glob(pattern))
        for name, pattern in ((FILE, "progress*.csv"), ("events", "events.*"), ("checkpoints", "*/step-*"))
    }
    return "\n".join(
        [
            *(f"after {look.timesteps:>11,} steps: {look.megabytes:.1f} MB" for look in (first, last)),
            f"growth: {last.megabytes - first.megabytes:+.1f} MB in {last.timesteps - first.timesteps:,} steps",
            *(f"{name}: {size / 1e6:.2f} MB, {size / rollouts:,.0f} bytes a rollout" for name, size in sizes.items()),
        ]
    )


def main() -> None:
    """Runs the program."""
    config = tyro.cli(GrowthConfig, registry=REGISTRY)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        print(report(run_dir, watched(run_dir, config.total_timesteps), config.warm))


if __name__ == "__main__":
    sys.exit(status_after(main))
