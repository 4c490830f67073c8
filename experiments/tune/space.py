"""What is searched: `--search NAME=LOW:HIGH[:log]` and `NAME=A,B,C`, and what it is by default."""

# Optuna is an extra, types can be checked without it.
# mypy: disable-error-code="import-not-found"
import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from agents.argument_checks import check_argument
from agents.cores import core_maker
from experiments.arguments import parse_value
from experiments.config import TrainConfig
from experiments.errors import UserError, user_errors
from experiments.settings import SECTIONS, described, is_of, kinds, with_settings
from experiments.tune.fit import fitted

if TYPE_CHECKING:
    import optuna

SEARCHABLE: dict[str, Any] = {
    "n_envs": int,
    # All but lists, for which there is no range, and no comma to part two of them.
    **{name: kind for part in ("core", "agent") for name, kind in kinds(SECTIONS[part]).items() if not is_of((), kind)},
}
"""The settings that can be searched, and their types."""


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`, both included: whole ones where these are whole numbers.

    `log` proposes each order of magnitude equally often.
    """

    name: str
    low: float
    high: float
    log: bool

    def __str__(self) -> str:
        return f"{self.name}={self.low}:{self.high}{':log' * self.log}"

    @property
    def ends(self) -> tuple[float, float]:
        """Two of its values, as far apart as can be."""
        return self.low, self.high

    @property
    def samples(self) -> tuple[float, ...]:
        """Its ends and, of other than whole numbers, one near the lower end, where a 0 may stand alone."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return self.ends
        return self.low, self.low + (self.high - self.low) / 1000, self.high

    def propose(self, trial: "optuna.Trial") -> Any:
        """A value for a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Choice:
    """One of these values, in no order."""

    name: str
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.name}={','.join(map(str, self.values))}"

    @property
    def ends(self) -> tuple[Any, Any]:
        """Two of its values, as far apart as can be."""
        return self.values[0], self.values[-1]

    @property
    def samples(self) -> tuple[Any, ...]:
        """All of its values."""
        return self.values

    def propose(self, trial: "optuna.Trial") -> Any:
        """A value for a trial."""
        return trial.suggest_categorical(self.name, self.values)


Dimension = Range | Choice


def parse_search(words: Iterable[str], config: TrainConfig) -> list[Dimension]:
    """The dimensions that the words of `--search` name, in their order.

    Args:
        words: `NAME=LOW:HIGH`, `NAME=LOW:HIGH:log` or `NAME=A,B,C`.
        config: the other settings.

    Raises:
        UserError: for a setting that there isn't or that can't be searched, for a value of the wrong type or out of
            its range, and for a range or list with nothing to choose from.
    """
    dimensions: dict[str, Dimension] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.replace("-", "_")
        if not equals or not text:
            raise UserError(f"--search {word!r} isn't NAME=LOW:HIGH[:log] or NAME=A,B,C, such as slots=16:64:log")
        if name not in SEARCHABLE:
            close = difflib.get_close_matches(name, SEARCHABLE, n=1, cutoff=0.75)
            hint = f"; did you mean {close[0]}? These" if close else ", these"
            raise UserError(f"--search {name}: can't be searched{hint} can: {', '.join(sorted(SEARCHABLE))}")
        if name in dimensions:
            raise UserError(f"--search {name} is given twice")
        dimension = _range(word, name, text) if ":" in text else _choice(word, name, text)
        for value in dimension.samples:
            with user_errors(UserError, ValueError, prefix=f"--search {word}: "):
                with_settings(config, {name: value}).check()
                _check_value(name, value)
        dimensions[name] = dimension
    return list(dimensions.values())


def _check_value(name: str, value: Any) -> None:
    """Raises a `ValueError` for a value that the library refuses whatever the other settings are."""
    check_argument(name, value)
    if name in kinds(SECTIONS["core"]):
        # Beside the defaults, which fit any value that is right by itself, with the size that a trial would have.
        needed: dict[str, dict[str, Any]] = {
            "ramp_gradient": {"read_margin": 1.0},
            "count_matches": {"log_position": True},
        }
        arguments = fitted(
            with_settings(TrainConfig(), {name: value, **needed.get(name, {})}), {"dim"}
        ).core.arguments()
        with torch.device("meta"):
            core_maker(arguments.pop("core", "expire-span"), arguments)()


def _range(word: str, name: str, text: str) -> Range:
    kind = SEARCHABLE[name]
    if not is_of(1, kind):
        raise UserError(f"--search {word}: {name} is {described(kind)}, which has no range; give {name}=A,B,C")
    low, high, *scale = text.split(":")
    if scale not in ([], ["log"]):
        raise UserError(f"--search {word}: after LOW:HIGH comes nothing or :log, not :{':'.join(scale)}")
    whole = not is_of(1.5, kind)
    ends: list[Any] = [parse_value(low), parse_value(high)]
    for end, value in zip((low, high), ends, strict=True):
        if not is_of(value, int if whole else float):
            raise UserError(f"--search {word}: {end!r} must be {described(int if whole else float)}")
    first, last = ends if whole else map(float, ends)
    if not first < last:
        raise UserError(f"--search {word}: LOW must be below HIGH; for one value give --{_flag(name)} {low}")
    if scale and not first > 0:
        raise UserError(f"--search {word}: a range with :log must begin above 0")
    return Range(name, first, last, bool(scale))


def _choice(word: str, name: str, text: str) -> Choice:
    kind = SEARCHABLE[name]
    values = tuple(parse_value(item) for item in text.split(","))
    for item, value in zip(text.split(","), values, strict=True):
        if not is_of(value, kind):
            raise UserError(f"--search {word}: {item!r} must be {described(kind)}")
    if len(values) == 1:
        raise UserError(f"--search {word}: one value leaves nothing to search; give --{_flag(name)} {text}")
    if len(set(values)) < len(values):
        raise UserError(f"--search {word}: a value is given twice")
    return Choice(name, values)


def _flag(name: str) -> str:
    return name.replace("_", "-")


def default_search(config: TrainConfig, fixed: Collection[str]) -> list[Dimension]:
    """What is searched unless the user says otherwise: PPO's numbers, and sizes around those that are set.

    Args:
        config: the settings without a search.
        fixed: names of settings that stay as they are.
    """
    core, agent = config.core, config.agent
    rollout = agent.n_steps * config.env.n_envs
    dimensions: list[Dimension] = [
        Range("learning_rate", 5e-5, 3e-3, log=True),
        Range("ent_coef", 1e-4, 0.1, log=True),
        Range("gamma", 0.98, 0.999, log=False),
        Range("gae_lambda", 0.9, 0.99, log=False),
        Range("clip_range", 0.1, 0.3, log=False),
        Range("n_epochs", 2, 8, log=False),
        # Two minibatches a rollout at least; more than 32 would be small ones, and slow.
        Range("batch_size", max(1, rollout // 32), max(2, rollout // 2), log=True),
        Choice("dim", (max(2, core.dim // 2), core.dim, 2 * core.dim)),
    ]
    if core.memory in ("expire-span", "transformer-xl"):
        dimensions.append(Range("slots", max(2, core.slots // 2), max(3, 2 * core.slots), log=True))
    if core.memory == "expire-span":
        dimensions += [
            Range("max_span", core.max_span / 4, core.max_span * 2.0, log=True),
            Range("ramp_length", core.ramp_length / 4, core.ramp_length * 2.0, log=True),
            Range("expire_loss_coef", 1e-6, 1e-3, log=True),
        ]
    return [dimension for dimension in dimensions if dimension.name not in fixed]


def propose(dimensions: Iterable[Dimension], trial: "optuna.Trial") -> dict[str, Any]:
    """A value of each dimension, chosen by the study's sampler."""
    return {dimension.name: dimension.propose(trial) for dimension in dimensions}
