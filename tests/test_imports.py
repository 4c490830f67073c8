"""The arrows between packages go one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "expire_span": set(),
    "envs": set(),
    "agents": {"expire_span"},
    "experiments": {"expire_span", "envs", "agents"},
}
"""What each package may import of ours, beside itself."""


def imports(source: str) -> set[str]:
    """The top-level packages that a module's source imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where an arrow goes"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_go_one_way(package: str) -> None:
    """Would catch: an environment that imports the agent, a core that knows of the command line, tests in a package."""
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules
    for module in modules:
        ours = imports(module.read_text()) & {*ALLOWED, "tests"}
        assert ours <= ALLOWED[package] | {package}, f"{module.relative_to(ROOT)} imports {ours}"


def test_a_wrong_arrow_is_seen() -> None:
    """Would catch: a walk that overlooks an import inside a function or of a submodule."""
    assert imports("def f():\n    from experiments.cli import main\n") == {"experiments"}
    assert imports("import agents.ppo as x, os") == {"agents", "os"}
