"""What came of a study so far: for machines, and as tables."""

# Optuna is an extra, types can be checked without it.
# mypy: disable-error-code="import-not-found"
import shlex
from collections import Counter
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from experiments.config import TuneConfig
from experiments.tune.study import BEST, Study

SHOWN = 10
"""Trials in the table of the best."""
ENOUGH = 10
"""Complete trials from which on the importance of settings is told; of fewer it would be chance."""


def score(objective: str, value: float) -> str:
    """`success 0.830` or `return 1.52`."""
    return f"success {value:.3f}" if objective == "success_rate" else f"return {value:.3g}"


def settings_text(settings: dict[str, Any]) -> str:
    """`learning_rate=0.000412 slots=32`."""
    parts = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in settings.values())
    return " ".join(f"{name}={part}" for name, part in zip(settings, parts, strict=True))


def results(study: Study, config: TuneConfig) -> dict[str, Any]:
    """What `tune --json` prints."""
    trials, retried, ranked = study.trials(), study.retried(), study.ranked()
    counted = [trial for trial in trials if trial.number not in retried]
    states = Counter(trial.state for trial in counted)
    failed = [trial for trial in counted if trial.state == TrialState.FAIL]
    best = [_described(study, trial) for trial in ranked]
    return {
        "study": str(study.folder),
        "objective": ranked[0].user_attrs["objective"] if ranked else None,
        "trials": config.trials,
        "complete": states[TrialState.COMPLETE],
        "pruned": states[TrialState.PRUNED],
        "failed": states[TrialState.FAIL],
        "running": states[TrialState.RUNNING],
        "interrupted": len(retried),
        "preset": str(study.folder / BEST) if ranked else None,
        "best": best,
        "importances": _importances(study, ranked),
        "failures": [{"trial": trial.number, "reason": reason(trial)} for trial in failed],
    }


def _importances(study: Study, ranked: list[FrozenTrial]) -> dict[str, float] | None:
    # Where all are equally good nothing is important.
    return study.importances() if len(ranked) >= ENOUGH and ranked[0].value != ranked[-1].value else None


def reason(trial: FrozenTrial) -> str:
    """Why a trial failed. Whoever is killed can't say why."""
    return str(trial.user_attrs.get("reason", "its process was killed; mostly that is for want of memory"))


def _described(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    run_dir = study.run_dir(trial.number)
    began, ended = trial.datetime_start, trial.datetime_complete
    return {
        "trial": trial.number,
        "value": trial.value,
        "settings": trial.user_attrs["settings"],
        "seconds": round((ended - began).total_seconds(), 1) if began and ended else None,
        "run": str(run_dir) if run_dir.is_dir() else None,
    }


def print_tables(result: dict[str, Any]) -> None:
    """Prints the best trials, what mattered, what failed, and what to do next, on standard output."""
    console = Console(highlight=False)
    states = ("complete", "pruned", "failed", "running", "interrupted")
    counts = ", ".join(f"{result[state]} {state}" for state in states if result[state])
    console.print(f"{result['study']}: {counts or 'no trials yet'}", markup=False, soft_wrap=True)
    if result["best"]:
        _print_best(console, result)
    if result["importances"]:
        table = Table(title="Importance", box=SIMPLE_HEAD)
        table.add_column("setting")
        table.add_column("share of the differences", justify="right")
        for name, share in result["importances"].items():
            table.add_row(name, f"{share:.0%}")
        console.print(table)
    # Many trials fail for one reason.
    for why, count in Counter(failure["reason"] for failure in result["failures"]).most_common():
        first = next(failure["trial"] for failure in result["failures"] if failure["reason"] == why)
        console.print(f"{count} failed, such as trial {first}: {why}", markup=False, soft_wrap=True)
    if result["best"]:
        hint = f"Train with the best: expire-span train --preset {shlex.quote(result['preset'])}"
        console.print(hint, markup=False, soft_wrap=True)


def _print_best(console: Console, result: dict[str, Any]) -> None:
    table = Table(title="Best trials", box=SIMPLE_HEAD)
    for heading in ("trial", "success" if result["objective"] == "success_rate" else "return", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings")
    table.add_column("run", no_wrap=True)
    for trial in result["best"][:SHOWN]:
        value = f"{trial['value']:.3f}" if result["objective"] == "success_rate" else f"{trial['value']:.3g}"
        kept = "" if trial["run"] is None else "kept"
        table.add_row(str(trial["trial"]), value, f"{trial['seconds']:.0f}", settings_text(trial["settings"]), kept)
    console.print(table)
