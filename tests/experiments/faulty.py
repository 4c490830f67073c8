"""An environment that fails in the midst of a training, until it is mended; and what a process does with one.

    python -m tests.experiments.faulty RUN_DIR FAULT [MOUNT]

trains until the fault, mends it, and goes on with the training.
"""

import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

FAULTY, STEP = 2, 40
"""Which environment fails, and at which of its steps."""
ID = "tests.experiments.faulty:Faulty-v0"


class FaultyEnv(gym.Env[Any, Any]):
    """Tells whether the action was that of the step before; environment 2 fails at its step 40.

    Args:
        fault: what happens then, or with its pictures.
        mended: a file; once it is there nothing happens any more.
        faulty: the first seed of the environment that fails.
        step: at which it does.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # as Gymnasium has it

    def __init__(
        self,
        fault: str = "none",
        mended: str = "",
        faulty: int = FAULTY,
        step: int = STEP,
        render_mode: str | None = None,
    ) -> None:
        if fault == "make" and not Path(mended).exists():
            raise KeyError("no such level")
        self.observation_space = spaces.Dict(
            {"position": spaces.Box(-np.inf, np.inf, (2,), np.float32), "code": spaces.Discrete(3)}
        )
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode
        self._fault, self._mended = fault, Path(mended)
        self._is_faulty, self._fails_at = False, step
        self._faulty, self._steps, self._last = faulty, 0, 0

    def _observation(self) -> dict[str, Any]:
        return {"position": np.full(2, self._steps % 7, np.float32), "code": self._last}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """An episode; the first one's seed is the environment's number."""
        super().reset(seed=seed)
        if seed is not None:
            self._is_faulty = seed == self._faulty
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Episodes end at random, or are cut off."""
        self._steps += 1
        reward: Any = float(action == self._last)
        same = self._observation()
        self._last = int(action)
        terminated, truncated = (bool(draw < 0.1) for draw in self.np_random.random(2))
        if self._is_faulty and self._steps == self._fails_at and not self._mended.exists():
            if self._fault == "nan reward":
                reward = np.nan
            elif self._fault == "inf observation":
                same["position"][1] = -np.inf
            elif self._fault == "nan at the end":
                same["position"][0], terminated, truncated = np.nan, False, True
            elif self._fault == "huge rewards":
                reward = 1e30
            elif self._fault == "rewards":
                reward = np.ones(1)
            elif self._fault == "no reward":
                reward = None
            else:
                fail(self._fault, self._mended)
        return same, reward, terminated, truncated, {}

    def close(self) -> None:
        """The end, or another fault."""
        if self._fault == "close":
            raise RuntimeError("already gone")

    def render(self) -> Any:
        """A picture, of whatever kind."""
        if self._fault == "no display":
            raise RuntimeError("no display")
        shape = (96, 128, 4 if self._fault == "four channels" else 3)
        return np.zeros(shape, np.float64 if self._fault == "floats" else np.uint8)


def fail(fault: str, mended: Path) -> None:
    """Raises, or worse."""
    match fault:
        case "raise":
            raise KeyError("a door too many")
        case "exit":
            sys.exit("no licence")
        case "hang":
            (mended.parent / "hangs").touch()
            time.sleep(3600)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "full disk":
            filler = mended.parent / "filler"
            with filler.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)):
                        pass
                except OSError:
                    return
        case "full disk, by a limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        case "no folder":
            shutil.rmtree(mended.parent / "run")
        case "little memory":
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, resource.RLIM_INFINITY))


def mend(folder: Path) -> None:
    """Takes away what ended the training."""
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_AS):
        resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (folder / "filler").unlink(missing_ok=True)
    (folder / "mended").touch()


def flags(folder: Path, fault: str) -> list[str]:
    """Of a training that fails; the run folder is `folder/run`."""
    return [
        *("--env", ID, "--env-args", f"fault={fault}", f"mended={folder / 'mended'}", "--n-envs", "4"),
        *("--dim", "16", "--depth", "2", "--heads", "2", "--slots", "6", "--max-span", "20", "--ramp-length", "3"),
        *("--n-steps", "16", "--batch-size", "32", "--n-epochs", "1", "--torch-threads", "1", "--progress", "none"),
        *("--device", "cpu", "--checkpoint-every", "64", "--total-timesteps", "320", "--run-dir", str(folder / "run")),
    ]


def trained_and_resumed(folder: Path, fault: str, *more: str) -> list[int]:
    """Trains, mends, goes on; both exit statuses."""
    from experiments.cli import main

    statuses = [main(["train", *flags(folder, fault), *more])]
    mend(folder)
    return [*statuses, main(["train", "--resume", str(folder / "run")])]


if __name__ != "__main__":
    gym.register("Faulty-v0", f"{__name__}:FaultyEnv")
else:
    print(*trained_and_resumed(Path(sys.argv[1]), sys.argv[2], *sys.argv[3:]))
