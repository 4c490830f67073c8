"""Schedules of learning rates and the like as plain values."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from agents.checkpoint.errors import CheckpointError, shown
from agents.checkpoint.tree import Tree, fields

ScheduleLike: TypeAlias = float | np.number | Callable[[float], float]
"""A number, or a function of the progress remaining (1 to 0)."""


def schedule_to_tree(schedule: ScheduleLike) -> Tree:
    """Describes a number or one of SB3's schedules; of another function it only says that there was one."""
    kind = type(schedule)
    if _is_number(schedule):
        return schedule
    if isinstance(schedule, FloatSchedule) and kind is FloatSchedule:
        return {"kind": "float", "schedule": schedule_to_tree(schedule.value_schedule)}
    if isinstance(schedule, ConstantSchedule) and kind is ConstantSchedule and _is_number(schedule.val):
        return {"kind": "constant", "value": schedule.val}
    if isinstance(schedule, LinearSchedule) and kind is LinearSchedule:
        values = {"start": schedule.start, "end": schedule.end, "end_fraction": schedule.end_fraction}
        if all(map(_is_number, values.values())):
            return {"kind": "linear", **values}
    if not callable(schedule):
        raise CheckpointError(
            f"{shown(schedule)} is no schedule: give a number or a function of the progress remaining"
        )
    named = schedule if hasattr(schedule, "__qualname__") else kind
    return {"kind": "function", "name": f"{named.__module__}.{named.__qualname__}"}


def schedule_from_tree(tree: Tree, argument: str, custom_objects: Mapping[str, Any] | None = None) -> ScheduleLike:
    """The number or schedule that was described.

    Args:
        tree: of `schedule_to_tree`.
        argument: what it is the schedule of, such as `"learning_rate"`.
        custom_objects: by such names, the functions that a checkpoint can't hold.

    Raises:
        CheckpointError: if it was such a function and isn't among them, or the description is damaged.
    """
    what = f"the schedule {argument}"
    if _is_number(tree):
        number: float = tree
        return number
    match tree:
        case {"kind": "float"}:
            inner = schedule_from_tree(fields(tree, what, "kind", "schedule")["schedule"], argument, custom_objects)
            return FloatSchedule(inner if callable(inner) else float(inner))
        case {"kind": "constant"}:
            return ConstantSchedule(*_numbers(tree, what, "value"))
        case {"kind": "linear"}:
            start, end, fraction = _numbers(tree, what, "start", "end", "end_fraction")
            if not 0 < fraction <= 1:
                raise CheckpointError(f"{what} ends after {shown(fraction)} of the training: take another checkpoint")
            return LinearSchedule(start, end, fraction)
        case {"kind": "function"}:
            name = fields(tree, what, "kind", "name")["name"]
            if custom_objects is not None and argument in custom_objects:
                given: ScheduleLike = custom_objects[argument]
                return given
            raise CheckpointError(
                f"{argument} was the function {shown(name)}, which a checkpoint can't hold: pass "
                f"custom_objects={{{argument!r}: the function}}"
            )
    raise CheckpointError(f"{what} is described as {shown(tree)}: take another checkpoint")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _numbers(tree: Tree, what: str, *names: str) -> list[float]:
    """The values by these names, all numbers."""
    values = [fields(tree, what, "kind", *names)[name] for name in names]
    if not all(map(_is_number, values)):
        raise CheckpointError(f"{what} is described as {shown(tree)}: take another checkpoint")
    return values
