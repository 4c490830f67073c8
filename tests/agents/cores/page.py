"""docs/adding-a-core.md as Python."""

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-core.md"


def python_blocks() -> list[str]:
    """The page's Python examples."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def names_of_the_page(blocks: int = 1) -> dict[str, Any]:
    """What its first examples define."""
    names: dict[str, Any] = {}
    for block in python_blocks()[:blocks]:
        exec(compile(block, str(PAGE), "exec"), names)
    return names
