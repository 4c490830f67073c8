"""The documentation's pages, and the examples in them."""

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


class Example(NamedTuple):
    """A fenced block of code."""

    language: str
    """`python`, or `sh`: commands of `expire-span`."""
    text: str
    not_run: str | None
    """Why not, where a comment `<!-- not run: why -->` stands before it."""


def examples(page: Path) -> list[Example]:
    """The blocks of a page that have a language, in order."""
    return [Example(found["language"], found["text"], found["why"]) for found in _BLOCK.finditer(page.read_text())]
