"""Numbers that no training can be made of: refused when they are given, with what would be right."""

import math
import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple, get_args

from agents.cores.sizes import LARGEST
from agents.precision import Precision

PRECISIONS: tuple[str, ...] = get_args(Precision)


class Allowed(NamedTuple):
    """What an argument may be: a finite number between two, and perhaps something else."""

    low: float = 0.0
    high: float = math.inf
    open: bool = False
    """Whether it must be above `low`."""
    whole: bool = False
    none: bool = False
    """Whether it may be None."""
    schedule: bool = False
    """Whether it may be a function of the progress remaining, which isn't looked into."""

    def permits(self, value: Any) -> bool:
        """Whether a value is that."""
        if (value is None and self.none) or (callable(value) and self.schedule):
            return True
        is_number = isinstance(value, Integral if self.whole else Real) and not isinstance(value, bool)
        # Not `isfinite`: whole numbers may be greater than any float.
        least, most = max(self.low, -sys.float_info.max), min(self.high, sys.float_info.max)
        return is_number and least <= value <= most and not (self.open and value == self.low)

    def __str__(self) -> str:
        """In words, for an error."""
        words = "a whole number" if self.whole else "a finite number"
        if self.high < math.inf:
            words += f" between {self.low:g} and {self.high:g}"
        elif self.open:
            words += f" above {self.low:g}"
        elif self.low > -math.inf:
            words += f", at least {self.low:g}"
        return words + ", or a schedule" * self.schedule + ", or None" * self.none


ARGUMENTS: Mapping[str, Allowed] = {
    "learning_rate": Allowed(schedule=True),
    "gamma": Allowed(high=1),
    "gae_lambda": Allowed(high=1),
    "clip_range": Allowed(schedule=True),
    "clip_range_vf": Allowed(open=True, schedule=True, none=True),
    "ent_coef": Allowed(low=-math.inf),
    "vf_coef": Allowed(),
    "max_grad_norm": Allowed(open=True),
    "sde_sample_freq": Allowed(low=-1, whole=True),
    "target_kl": Allowed(open=True, none=True),
    "stats_window_size": Allowed(low=1, high=LARGEST, whole=True),
    "seed": Allowed(high=2**32 - 1, whole=True, none=True),
    "min_advantage_std": Allowed(high=1e30),
    "expire_loss_coef": Allowed(),
    "read_loss_coef": Allowed(),
    "memory_budget": Allowed(schedule=True, none=True),
    "forget_at_success": Allowed(high=1, none=True),
}
"""Arguments of `ExpireSpanPPO`; those of rollouts and segments are checked where these are cut."""


def check_argument(name: str, value: Any) -> None:
    """Raises a `ValueError` for a value that the argument of this name can't have; others than `ARGUMENTS` may."""
    if name in ARGUMENTS and not ARGUMENTS[name].permits(value):
        raise ValueError(f"{name}={value!r} must be {ARGUMENTS[name]}")
    if name == "precision" and value not in PRECISIONS:
        raise ValueError(f"precision={value!r} must be one of {', '.join(PRECISIONS)}")


def check_arguments(given: Mapping[str, Any]) -> None:
    """Looks at an agent's arguments.

    Args:
        given: by name, those of `ARGUMENTS`, and the precision.

    Raises:
        ValueError: for the first that can't be, naming it.
    """
    for name in (*ARGUMENTS, "precision"):
        check_argument(name, given[name])
