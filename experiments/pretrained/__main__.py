"""`python -m experiments.pretrained DIR NAME`: adds a run's agent to those that come with the package."""

import argparse
import dataclasses
import io
import json
import re
import sys
from pathlib import Path

from experiments import pretrained, runs
from experiments.errors import UserError, status_after

_NAME = re.compile("[a-z0-9][a-z0-9-]*")
MOST_BYTES = 2_000_000
"""Of a trained agent."""


def pack(run_dir: Path, name: str, shelf: Path, command: str) -> None:
    """Writes a trained agent's folder.

    Left out is what only the training needed: the optimiser's state, checkpoints, logs.

    Args:
        run_dir: of the run.
        name: of the agent; one that is there is replaced.
        shelf: the folder of all trained agents.
        command: that makes such an agent again, for the record.

    Raises:
        UserError: if there is no model, it is too large, or the name can't be one; nothing is written then.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} can't be an agent's name: take small letters, digits and hyphens")
    run = runs.load(run_dir, "cpu")
    begun = json.loads((run_dir / runs.CONFIG).read_text()).get("started", {})
    run.model.policy.optimizer.state.clear()
    run.model.ep_info_buffer = run.model.ep_success_buffer = None
    packed = io.BytesIO()
    run.model.save(packed)
    size = packed.tell()
    if size > MOST_BYTES:
        raise UserError(f"{run_dir}: its agent would be {size:,} bytes, more than {MOST_BYTES:,}")
    target = shelf / name
    target.mkdir(parents=True, exist_ok=True)
    (target / runs.MODEL).write_bytes(packed.getvalue())
    record = {
        "format_version": runs.FORMAT_VERSION,
        "config": dataclasses.asdict(dataclasses.replace(run.config, run_dir=None, device="auto")),
        # Neither paths nor times of the machine that trained it.
        "started": {"command": command, **{key: begun.get(key) for key in ("device_name", "versions", "git")}},
        "continued": [],
    }
    runs.write_json(target / runs.CONFIG, record)


def main() -> None:
    """Reads the command line and packs."""
    parser = argparse.ArgumentParser(prog="python -m experiments.pretrained", description=__doc__)
    parser.add_argument("run_dir", metavar="DIR", type=Path, help="folder of a run")
    parser.add_argument("name", metavar="NAME", help="of the agent, for --pretrained")
    parser.add_argument("--command", required=True, help="that makes such an agent again, for the record")
    arguments = parser.parse_args()
    pack(arguments.run_dir, arguments.name, Path(pretrained.__file__).parent, arguments.command)


if __name__ == "__main__":
    sys.exit(status_after(main))
