"""The cores that can be had by name, and the one that is written in docs/adding-a-core.md."""

from agents.cores import MemoryCore, core_maker
from tests.agents.cores.conformance import CoreConformance
from tests.agents.cores.page import names_of_the_page
from tests.agents.models import CORES


def named(core: str) -> MemoryCore:
    given = {"core": core, **CORES[core]}
    return core_maker(given.pop("core"), given)()


class TestExpireSpan(CoreConformance):
    def make(self) -> MemoryCore:
        return named("expire-span")


class TestTransformerXL(CoreConformance):
    def make(self) -> MemoryCore:
        return named("transformer-xl")


class TestLSTM(CoreConformance):
    def make(self) -> MemoryCore:
        return named("lstm")


class TestGRU(CoreConformance):
    def make(self) -> MemoryCore:
        return named("gru")


class TestOfThePage(CoreConformance):
    def make(self) -> MemoryCore:
        return names_of_the_page()["AverageCore"](16)
