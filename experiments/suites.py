"""The table of POPGym's and Memory Gym's environments in docs/memory-suites.md: `python -m experiments.suites`.

Every environment is trained for one small rollout by the command line, so that the table says what does run.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import tyro
from gymnasium import spaces

from envs import make_env
from envs.suites import SUITES, Suite
from experiments.cli import main

_SMALL = (
    *("--dim", "16", "--depth", "1", "--heads", "2", "--slots", "8", "--max-span", "16", "--ramp-length", "4"),
    *("--n-envs", "2", "--n-steps", "16", "--batch-size", "32", "--n-epochs", "1", "--total-timesteps", "32"),
    *("--progress", "none", "--device", "cpu"),
)
HEADER = "| `--env` | observation | action | runs |\n|---|---|---|---|"


def table(suite: Suite) -> str:
    """A suite's environments as a table in Markdown; takes about a third of a second for each.

    Raises:
        ValueError: if the suite isn't installed.
    """
    rows = [f"| {described(env_id)} | {trained(env_id)} |" for env_id in suite.ids()]
    return "\n".join([HEADER, *rows])


def described(env_id: str) -> str:
    """The first cells of an environment's row: its id, and its spaces as our policies have them."""
    env = make_env(env_id)
    cells = [f"`{text}`" for text in (env_id, brief(env.observation_space), brief(env.action_space))]
    env.close()
    return " | ".join(cells)


def brief(space: gym.Space[Any]) -> str:
    """A space in a few words: `Box(84, 84, 3) uint8`, `MultiDiscrete(52 of 14)`, `{cue: Discrete(4), …}`."""
    match space:
        case spaces.Box():
            kind = "" if space.dtype == "float32" else f" {space.dtype}"
            return f"Box({', '.join(map(str, space.shape))}){kind}"
        case spaces.MultiDiscrete():
            sizes = space.nvec.ravel().tolist()
            alike = len(sizes) > 2 and len(set(sizes)) == 1
            return f"MultiDiscrete({f'{len(sizes)} of {sizes[0]}' if alike else ', '.join(map(str, sizes))})"
        case spaces.Dict():
            return f"{{{', '.join(f'{name}: {brief(part)}' for name, part in space.spaces.items())}}}"
    return str(space)


def trained(env_id: str) -> str:
    """`yes` if `expire-span train --env ID` trains a rollout, else `no` and what it says."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        status = main(["train", "--env", env_id, *_SMALL, "--run-dir", str(Path(folder) / "run")])
    return "yes" if status == 0 else f"no: {errors.getvalue().strip()}"


def print_tables() -> int:
    """Prints the tables of the suites that are installed; says which aren't on standard error, and returns 1 then."""
    status = 0
    for suite in SUITES:
        try:
            print(f"### {suite.title}\n\n{table(suite)}\n")
        except ValueError as error:
            print(error, file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(tyro.cli(print_tables))
