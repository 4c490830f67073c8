"""The settings of a training by name: of what kind each is, and configurations with some of them changed."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from experiments.config import AgentConfig, CoreConfig, EnvConfig, TrainConfig
from experiments.errors import UserError, near_misses

SECTIONS: Mapping[str, type[Any]] = {"env": EnvConfig, "core": CoreConfig, "agent": AgentConfig}
"""Sections of a `TrainConfig`; no two have a setting of the same name."""


def kinds(section: type[Any]) -> dict[str, Any]:
    """The settings of a section, or of `TrainConfig` itself, and the type of each."""
    return get_type_hints(section)


def is_of(value: Any, kind: Any) -> bool:
    """Whether a value, as JSON has it, is of a setting's type: a list does for a tuple, a whole number for a float.

    Args:
        value: the value.
        kind: one of what `kinds` says.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(is_of(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, list | tuple) and all(is_of(item, arguments[0]) for item in value)
    if kind in (int, float):
        # Python's booleans are whole numbers, too.
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def checked(where: str, values: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them as keyword arguments: with tuples for lists.

    Args:
        where: what they are of, for the error message.
        values: them.
        known: those that there are, and the type of each.

    Raises:
        UserError: for what isn't an object, a setting that isn't known, or a value of another type.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must be an object of settings")
    for name, value in values.items():
        if name not in known:
            raise UserError(f"{where} has no setting {name!r}: {near_misses(name, known)}")
        if not is_of(value, known[name]):
            raise UserError(f"{where} {name} {value!r}: must be {described(known[name])}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def described(kind: Any) -> str:
    """A setting's type in words, for an error message: `a whole number or None`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(described(argument) for argument in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return f"a list, each {described(arguments[0])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "None"}
    return words[kind]


def setting(config: TrainConfig, name: str) -> Any:
    """The value of a setting of one of the sections."""
    return getattr(getattr(config, _section_of(name)), name)


def flag_of(name: str) -> str:
    """The flag of a setting, with or without its section before it: `--env` of `env.env_id`."""
    return "--" + name.rpartition(".")[2].replace("_", "-").replace("env-id", "env")


def with_settings(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """The configuration with these settings of its sections instead of its own."""
    sections: dict[str, Any] = {}
    for name, value in values.items():
        section = _section_of(name)
        before = sections.get(section, getattr(config, section))
        sections[section] = dataclasses.replace(before, **{name: value})
    return dataclasses.replace(config, **sections)


def _section_of(name: str) -> str:
    return next(section for section, kind in SECTIONS.items() if name in kinds(kind))
