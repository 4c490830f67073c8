"""A study in its folder: which trial comes next, what became of the others, what is kept of them."""

# Optuna is an extra, types can be checked without it.
# mypy: disable-error-code="import-not-found"
import dataclasses
import json
import shutil
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from experiments import preset_file
from experiments.config import TrainConfig, TuneConfig
from experiments.errors import UserError, one_line
from experiments.locks import Claims, alone
from experiments.runs import config_from_dict, write_json
from experiments.session import changed_settings
from experiments.settings import flag_of, setting, with_settings
from experiments.tune.fit import fitted
from experiments.tune.journal import Journal
from experiments.tune.space import parse_search, propose
from experiments.tune.trial import REPORTS, Ending

FORMAT_VERSION = 1
"""Of the folder. Raise it when a folder written before can no longer be gone on with."""
STUDY, JOURNAL, BEST, TRIALS, LOCK, CLAIMS = "study.json", "journal.jsonl", "best.json", "trials", "lock", "working"
RETRIES = 1
"""Times that a trial whose process was killed is done again. Twice killed it counts as failed: it may be what kills."""
_FIXED = ("search", "episodes")
_FIXED_IN_TRAIN = ("total_timesteps", "stop_at_success")


def prepare(config: TuneConfig) -> None:
    """Makes the folder of a new study, or checks that these settings are those of the study in it.

    Args:
        config: the settings, what is searched spelt out.

    Raises:
        UserError: if something else lies there, or a study with other settings.
        OSError: if it can't be written.
    """
    folder = Path(config.study)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--study {folder} is a file: give a new folder, or that of a study")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if STUDY not in names and names - {LOCK, TRIALS}:
        raise UserError(f"--study {folder} isn't empty and no study of ours: give a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / LOCK):
        if (folder / STUDY).is_file():
            _check_same(config, folder / STUDY)
        else:
            (folder / TRIALS).mkdir(exist_ok=True)
            write_json(folder / STUDY, {"format_version": FORMAT_VERSION, "config": dataclasses.asdict(config)})


def _check_same(config: TuneConfig, path: Path) -> None:
    """Raises a `UserError` if the study in `path` has other settings: its trials couldn't be compared."""
    try:
        record = json.loads(path.read_text())
        version = record["format_version"]
        if version != FORMAT_VERSION:
            raise UserError(f"it is of format {version!r}, this version reads {FORMAT_VERSION}")
        before = {name: record["config"][name] for name in _FIXED}
        train = config_from_dict(record["config"]["train"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path} can't be read ({one_line(error)}): take a new --study") from None
    now = dataclasses.asdict(config)
    changed = changed_settings(train, config.train)
    changed += [name for name in _FIXED_IN_TRAIN if getattr(train, name) != getattr(config.train, name)]
    changed += [name for name in _FIXED if before[name] != (list(now[name]) if name == "search" else now[name])]
    for name in changed:
        raise UserError(
            f"{flag_of(name)} can't change in a study, whose trials are compared: give the settings that {path} has, "
            f"or take a new --study"
        )


class Claim(NamedTuple):
    """A trial that this process is to run, and all its settings."""

    trial: optuna.Trial
    config: TrainConfig


class Study:
    """The study in a folder that `prepare` made, shared by all processes that have it open.

    Args:
        config: the settings, what is searched spelt out.

    Raises:
        UserError: if what was written of it can't be read.
    """

    def __init__(self, config: TuneConfig) -> None:
        self._config = config
        self._dimensions = parse_search(config.search, config.train)
        self.folder = Path(config.study)
        self._claims = Claims(self.folder / CLAIMS)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._alone():
            try:
                storage = JournalStorage(Journal(self.folder / JOURNAL))
                self._study = optuna.create_study(
                    storage=storage,
                    study_name="tune",
                    direction="maximize",
                    pruner=_pruner(config),
                    load_if_exists=True,
                )
            # What a damaged journal makes Optuna raise.
            except (KeyError, TypeError, AssertionError, ValueError) as error:
                where = self.folder / JOURNAL
                raise UserError(f"{where} is damaged ({one_line(error)}): take a new --study") from error

    def _alone(self) -> AbstractContextManager[None]:
        return alone(self.folder / LOCK)

    def claim(self) -> Claim | None:
        """The next trial for this process; None when the study has all that it is to have, others' running ones
        included.

        A trial whose process has died is failed first, and its settings are the next to be tried.
        """
        with self._alone():
            self._fail_dead()
            number = self._counted()
            if number >= self._config.trials:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.sampler = self._sampler(number)
            trial = self._study.ask()
            self._claims.take(_name(trial.number))
            config = self._settings(propose(self._dimensions, trial))
            trial.set_user_attr("settings", self._searched(config))
        return Claim(trial, dataclasses.replace(config, run_dir=str(self.run_dir(trial.number)), overwrite=False))

    def finish(self, trial: optuna.Trial, ending: Ending) -> None:
        """Tells what became of a trial of this process, and keeps of all run folders the best few.

        An interrupted trial counts for nothing: its settings are the next to be tried.
        """
        with self._alone():
            if ending.reason is not None:
                trial.set_user_attr("reason", ending.reason)
            if ending.objective is not None:
                trial.set_user_attr("objective", ending.objective)
            if ending.state == "complete":
                self._study.tell(trial, ending.value)
            elif ending.state == "pruned":
                self._study.tell(trial, state=TrialState.PRUNED)
            else:
                self._study.tell(trial, state=TrialState.FAIL)
            if ending.state == "interrupted":
                self._enqueue_again(trial, killed=0)
            self._claims.release(_name(trial.number))
            self._keep_best()

    def fail_dead(self) -> None:
        """Fails the trials of processes that have died, so that none seems to run that doesn't."""
        with self._alone():
            self._fail_dead()

    def trials(self) -> list[FrozenTrial]:
        """All trials, in the order in which they began."""
        return self._study.get_trials(deepcopy=False)

    def ranked(self) -> list[FrozenTrial]:
        """The complete trials, best first. Of equals the better is the one with the higher mean training success: it
        has learned sooner."""

        def merit(trial: FrozenTrial) -> tuple[float, float]:
            assert trial.value is not None, "it is complete"
            reports = list(trial.intermediate_values.values())
            return trial.value, sum(reports) / len(reports) if reports else -np.inf

        return sorted(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), key=merit, reverse=True)

    def retried(self) -> set[int]:
        """Numbers of the trials that were done again, or will be: they count for nothing."""
        return {trial.user_attrs["retry_of"] for trial in self.trials() if "retry_of" in trial.user_attrs}

    def importances(self) -> dict[str, float]:
        """The share of each searched setting in the variation of the objective, the greatest first.

        Source: Watanabe et al. 2023, PED-ANOVA, arXiv 2304.10255.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())

    def run_dir(self, number: int) -> Path:
        """Where the run of a trial lies, if it is kept."""
        return self.folder / TRIALS / _name(number)

    def _settings(self, proposed: dict[str, Any]) -> TrainConfig:
        return fitted(with_settings(self._config.train, proposed), proposed.keys())

    def _searched(self, config: TrainConfig) -> dict[str, Any]:
        return {dimension.name: setting(config, dimension.name) for dimension in self._dimensions}

    def _sampler(self, number: int) -> TPESampler:
        """A sampler of its own for each trial: processes that share a study must not draw the same numbers, and a study
        that is gone on with must not draw those of its beginning again."""
        seed = np.random.SeedSequence([self._config.train.seed, number]).generate_state(1)[0]
        # Settings are chosen together, and away from those that others try just now, by any version of Optuna.
        return TPESampler(
            n_startup_trials=self._config.startup_trials, multivariate=True, constant_liar=True, seed=int(seed)
        )

    def _counted(self) -> int:
        """Trials that are done, failed ones included, or under way."""
        retried = self.retried()
        return sum(trial.state != TrialState.WAITING and trial.number not in retried for trial in self.trials())

    def _fail_dead(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._claims.is_taken(_name(trial.number)):
                self._claims.forget(_name(trial.number))
                self._study.tell(trial.number, state=TrialState.FAIL)
                if trial.user_attrs.get("killed", 0) < RETRIES:
                    self._enqueue_again(trial, killed=1)

    def _enqueue_again(self, trial: optuna.Trial | FrozenTrial, killed: int) -> None:
        before = trial.user_attrs.get("killed", 0)
        self._study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number, "killed": before + killed})

    def _keep_best(self) -> None:
        """Writes the best settings as a preset, and removes the runs that are neither under way nor among the best."""
        ranked = self.ranked()
        if ranked:
            best = ranked[0]
            config = with_settings(self._config.train, best.user_attrs["settings"])
            title = f"trial {best.number} of {self.folder.name}: {best.user_attrs['objective']} {best.value:.4g}"
            write_json(self.folder / BEST, preset_file.content(config, title))
        kept = {trial.number for trial in ranked[: self._config.keep_runs]}
        for trial in self.trials():
            run_dir = self.run_dir(trial.number)
            if trial.number not in kept and trial.state.is_finished() and run_dir.is_dir():
                shutil.rmtree(run_dir)


def _name(number: int) -> str:
    return f"trial-{number:04d}"


def _pruner(config: TuneConfig) -> BasePruner:
    """Compares reports; none of a trial's first quarter, which says little."""
    quarter = REPORTS // 4
    match config.pruner:
        case "median":
            return MedianPruner(n_startup_trials=config.startup_trials, n_warmup_steps=quarter)
        case "halving":
            return SuccessiveHalvingPruner(min_resource=quarter, reduction_factor=2)
        case "none":
            return NopPruner()
