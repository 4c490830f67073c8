"""The work on a study: one trial after the other, in this process or, as `python -m experiments.tune.worker`, apart.

The process belongs to `expire-span tune --workers N`, which starts it. It works until its standard input is closed, by
whoever started it or because that process has died, or until the study has all its trials.
"""

import contextlib
import dataclasses
import json
import sys
import warnings

from experiments.callbacks import StopRequest
from experiments.config import TuneConfig
from experiments.errors import UserError, print_warning, say, user_errors
from experiments.runs import config_from_dict
from experiments.tune.results import score, settings_text
from experiments.tune.study import Study
from experiments.tune.trial import Ending, run_trial
from experiments.workers import stop_at_end_of_input


def work(study: Study, config: TuneConfig, request: StopRequest, command: str) -> None:
    """Runs trials until the study has all that it is to have, or a stop is asked for.

    Args:
        study: the study.
        config: its settings.
        request: ends the work, and the trial under way.
        command: for the records of the runs.
    """
    while not request.signal and (claim := study.claim()) is not None:
        ending = Ending("interrupted", reason="interrupted")
        try:
            # What an environment prints isn't the result.
            with contextlib.redirect_stdout(sys.stderr):
                ending = run_trial(claim.trial, claim.config, config.episodes, request, command)
        finally:
            study.finish(claim.trial, ending)
        say(f"trial {claim.trial.number} ({settings_text(claim.trial.user_attrs['settings'])}): {_brief(ending)}")


def _brief(ending: Ending) -> str:
    if ending.value is not None and ending.objective is not None:
        return score(ending.objective, ending.value)
    return f"failed: {ending.reason}" if ending.state == "failed" else str(ending.reason)


def job(config: TuneConfig, command: str) -> str:
    """What a worker's process is told on its standard input: one line."""
    return json.dumps({"config": dataclasses.asdict(config), "command": command}) + "\n"


def _told(line: bytes) -> tuple[TuneConfig, str]:
    """The inverse of `job`."""
    record = json.loads(line)
    config = record["config"]
    train, search = config_from_dict(config["train"]), tuple(config["search"])
    return TuneConfig(**{**config, "train": train, "search": search}), record["command"]


def main() -> int:
    """Reads a job from standard input and works; the exit status is 0, or 2 if the study can't be worked on."""
    config, command = _told(sys.stdin.buffer.readline())
    warnings.showwarning = print_warning
    request = StopRequest()
    stop_at_end_of_input(request)
    try:
        with user_errors(OSError, prefix=f"--study {config.study}: "):
            work(Study(config), config, request, command)
    except UserError as error:
        say(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
