"""Whole numbers of the command line: 1000000, 1_000_000 or 1e6."""

from contextlib import suppress

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

REGISTRY = ConstructorRegistry()
"""For `tyro.cli`."""


def whole_number(word: str) -> int:
    """The number that a word says; one with a point or an exponent as a float has it.

    Raises:
        ValueError: if it says none, or one that isn't whole.
    """
    with suppress(ValueError):
        return int(word)
    with suppress(ValueError):
        number = float(word)
        if number.is_integer():
            return int(number)
    raise ValueError(f"{word!r} is no whole number, such as 1000000 or 1e6")


@REGISTRY.primitive_rule
def _rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )
