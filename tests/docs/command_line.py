"""The tables of docs/command-line.md, made of `--help`: `python -m tests.docs.command_line` puts them into the page."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from experiments.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
_WIDTH = "4000"
"""Columns: an option is one line then, but where its text has lines of its own."""
_OPTION = re.compile(r"  (-h, |--[a-z][a-z-]*(, --[a-z-]+)?( [A-Z{]|  |$)|[A-Z]+( \.\.\.)?(  |$))")
_INDENT = 8 * " "
"""Deeper than an option: what is said of it goes on."""
_TABLE = re.compile(r"(<!-- ([a-z]+) --help -->\n).*?(<!-- end -->)", re.DOTALL)


def commands() -> list[str]:
    """The program's commands, in its order."""
    listed = re.search(r"\{([a-z,]+)\}", help_of())
    assert listed is not None
    return listed[1].split(",")


def help_of(*command: str) -> str:
    """What `expire-span [COMMAND] --help` prints, on a wide terminal."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
            main([*command, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def options(text: str) -> Iterator[tuple[str, str]]:
    """Each option of a help text, with its metavar, and what is said of it."""
    # Where the terminal can't draw boxes, there are blanks in place of their lines.
    lines = [line.replace("│", " ").rstrip() for line in text.splitlines()]
    option, said = "", ""
    for line in [*lines, ""]:
        if line.startswith(_INDENT):
            said = f"{said} {line.strip()}"
            continue
        if option:
            yield option, said.strip()
        option, _, said = line.strip().partition("  ") if _OPTION.match(line) else ("", "", "")


def table(command: str) -> str:
    """The options of a command in Markdown; of `tune` those that `train` doesn't have."""
    rows = dict(options(help_of(command)))
    rows.pop("-h, --help")
    if command == "tune":
        for option in dict(options(help_of("train"))):
            rows.pop(option, None)
    cells = [f"| `{_cell(option)}` | {_cell(said)} |" for option, said in rows.items()]
    return "\n".join(["| option | |", "|---|---|", *cells])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace(" (default: )", "").replace("<", "&lt;")


def filled(page: str) -> str:
    """The page with its tables made anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{table(found[2])}\n\n{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
