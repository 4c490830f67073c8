"""The tables of docs/compatibility.md, made of the tests' own: `python -m tests.agents.sb3.page` puts them there."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.agents.sb3.callbacks import CALLBACKS
from tests.agents.sb3.calls import CALLS
from tests.agents.sb3.options import OPTIONS
from tests.agents.sb3.refusals import REFUSALS
from tests.agents.sb3.spaces import ACTIONS, OBSERVATIONS
from tests.agents.sb3.wrappers import WRAPPERS

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def spaces() -> str:
    """Observations, and the actions that each is tested with."""
    rows = ((name, f"`{seen.policy}`", seen.read_by) for name, seen in OBSERVATIONS.items())
    return f"{_table(('observations', 'policy', 'read'), rows)}\n\nActions: {'; '.join(ACTIONS)}."


def wrappers() -> str:
    """Names and notes."""
    return _list({name: wrapped.note for name, wrapped in WRAPPERS.items()})


def callbacks() -> str:
    """Names and what was looked at."""
    return _list({name: _said(check) for name, check in CALLBACKS.items()})


def options() -> str:
    """Names and notes."""
    return _list({name: option.note for name, option in OPTIONS.items()})


def calls() -> str:
    """Names and what was looked at."""
    return _list({name: _said(check) for name, check in CALLS.items()})


def refusals() -> str:
    """What isn't possible, and how that is said."""
    rows = ((name, f"`{why.error.__name__}`", f"… {why.message} …") for name, why in REFUSALS.items())
    return _table(("what", "error", "says"), rows)


TABLES = {made.__name__: made for made in (spaces, wrappers, callbacks, options, calls, refusals)}


def filled(page: str) -> str:
    """The page, its tables made anew; they stand between `<!-- table: NAME -->` and `<!-- end -->`."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", page)


def _said(check: Callable[[Path], None]) -> str:
    return " ".join((check.__doc__ or "").split())


def _list(notes: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {note}" if note else f"- {name}" for name, note in notes.items())


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first = [f"| {' | '.join(heading)} |", re.sub(r"[^|]+", "---", f"|{'|'.join(heading)}|")]
    return "\n".join([*first, *(f"| {' | '.join(cells)} |" for cells in rows)])


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
