"""A page of which parts are made anew, each between two lines; the prose around them is its author's."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.errors import UserError, user_errors
from experiments.runs import written_whole


class Block(NamedTuple):
    """The lines that a part stands between."""

    begin: str
    end: str

    def place(self, text: str) -> tuple[int, int] | None:
        """Where the part is in a page: after the first line, up to the second. None without both, once each."""
        if text.count(self.begin) != 1 or text.count(self.end) != 1:
            return None
        start, stop = text.index(self.begin) + len(self.begin), text.index(self.end)
        return (start, stop) if start <= stop else None


AT_A_GLANCE = Block(
    "<!-- results at a glance: made by `expire-span results --report` -->", "<!-- results at a glance: end -->"
)
"""All tasks by each memory, and how many live memories they take."""
TABLES = Block("<!-- results: made by `expire-span results --report` -->", "<!-- results: end -->")
"""Each task's table and picture."""

_BLOCKS = (AT_A_GLANCE, TABLES)
_NEW = "\n\n".join(["# Results", *(f"{block.begin}\n{block.end}" for block in _BLOCKS)]) + "\n"


class Page(NamedTuple):
    """A page as it was read."""

    path: Path
    text: str
    """Its lines end in a line feed, whatever the file's do."""
    line_end: str
    """The file's, or that of most of its lines."""

    def write(self, parts: Mapping[Block, str]) -> None:
        """Writes the page with these parts in it, whole or not at all."""
        text = self.text
        for block, part in parts.items():
            place = block.place(text)
            assert place is not None, block
            text = "\n\n".join([text[: place[0]], *([part] if part else []), text[place[1] :]])
        with written_whole(self.path) as partial:
            partial.write_text(text, encoding="utf-8", newline=self.line_end)


def read(path: Path) -> Page:
    """The page, or a new one.

    Raises:
        UserError: if it isn't UTF-8, lacks one of the lines, or has it twice, or a pair within another.
    """
    with user_errors(UnicodeDecodeError, prefix=f"--page {path} must be UTF-8: "):
        text = path.read_bytes().decode() if path.exists() else _NEW
    line_end = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
    text = text.replace("\r\n", "\n")
    places: list[tuple[int, int]] = []
    for block in _BLOCKS:
        place = block.place(text)
        # One within another would be lost with it.
        if place is None or any(place[0] < stop and start < place[1] for start, stop in places):
            raise UserError(
                f"--page {path} needs two lines once each, with nothing between them but results: {block.begin} and "
                f"{block.end}"
            )
        places.append(place)
    return Page(path, text, line_end)
