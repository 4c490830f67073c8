"""docs/adding-a-core.md: what it says is so."""

import inspect
import re
from pathlib import Path

from agents import ExpireSpanPPO
from agents.cores import CORES, MemoryCore, core_maker
from experiments.config import CoreConfig
from tests.agents.cores.page import PAGE, names_of_the_page, python_blocks
from tests.agents.models import collect, difference, scale_up


def test_its_core_is_trained(tmp_path: Path) -> None:
    """Would catch: an example that doesn't run as it is copied, or that acts by other rules than it is trained by."""
    assert len(python_blocks()) == 2
    model = names_of_the_page(blocks=2)["model"]
    assert isinstance(model, ExpireSpanPPO)
    assert (model.policy.core.dim, model.policy.core_kwargs["decay"]) == (32, 0.8)
    assert not model.memory_statistics
    scale_up(model)
    collect(model)
    assert difference(model) < 1e-4
    model.save(tmp_path / "model")
    core = model.policy.core_kwargs["core"]
    loaded = ExpireSpanPPO.load(tmp_path / "model", device="cpu", classes={"builtins.AverageCore": core})
    assert type(loaded.policy.core) is core


def test_its_table_names_the_cores() -> None:
    """Would catch: a core, or an argument of one, that was added or renamed since."""
    rows = re.findall(r"^\| `\"(.*?)\"`.*? \| `(.*?)` \| .*? \| (.*?) \|$", PAGE.read_text(), flags=re.MULTILINE)
    told = {core: set(re.findall(r"`(\w+)`", arguments)) | {"dim", "depth"} for core, _, arguments in rows}
    assert told == {core: set(core_maker(core, {}).keywords) for core in CORES}
    for core, memory, _ in rows:
        assert CoreConfig(memory=memory).arguments().get("core", core) == core


def test_its_protocol_is_whole() -> None:
    """Would catch: a member of the protocol that the page doesn't mention."""
    members = {name for name in vars(MemoryCore) if not name.startswith("_")} | set(inspect.get_annotations(MemoryCore))
    for member in members - {"parameters"}:
        assert f"| `{member}" in PAGE.read_text(), member
