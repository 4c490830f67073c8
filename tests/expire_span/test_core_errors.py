"""Wrong arguments: each a ValueError of one line that names what was given."""

from collections.abc import Iterator
from typing import Any

import jaxtyping
import pytest
import torch

from expire_span import ExpireSpanCore, ExpireSpanTransformerXL, Memory
from tests.expire_span.cases import SHORT, make_core, make_stream


@pytest.fixture(autouse=True)
def _unchecked_annotations() -> Iterator[None]:
    """Outside the tests nobody checks the annotations, and the library's own errors must be as good."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def assert_one_line(error: pytest.ExceptionInfo[ValueError], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, f"{part!r} isn't in {message!r}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"dim": 10, "heads": 4}, "heads"),
        ({"dim": 9, "heads": 3}, "dim"),
        ({"dim": 0}, "dim"),
        ({"heads": 0}, "heads"),
        ({"depth": 0}, "depth"),
        ({"slots": -1}, "slots"),
        ({"ramp_length": 0}, "ramp_length"),
        ({"ramp_length": -2}, "ramp_length"),
        ({"max_span": 0}, "max_span"),
        ({"max_span": -8}, "max_span"),
        ({"seq_len": 0}, "seq_len"),
        ({"initial_span": 0.0}, "initial_span"),
        ({"initial_span": 1.0}, "initial_span"),
        ({"spans": "fixd"}, "spans"),
        ({"backend": "cudnn"}, "backend"),
    ],
)
def test_sizes_that_do_not_fit(arguments: dict[str, Any], named: str) -> None:
    """Catches an error that comes late, from einops or a matrix product, or never."""
    with pytest.raises(ValueError, match=named) as error:
        ExpireSpanCore(**{"dim": 8, "depth": 2, "heads": 2, **arguments})
    given = str(arguments[named])
    assert_one_line(error, given)


@pytest.mark.parametrize("shape", [(2, 6), (2, 4), (1, 5), (2,)])
def test_episode_starts_of_another_shape(shape: tuple[int, ...]) -> None:
    """Catches starts that broadcast over steps or rows without a word."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=5)
    with pytest.raises(ValueError, match="episode_starts") as error:
        core(x, None, torch.zeros(shape, dtype=torch.bool))
    assert_one_line(error, str(tuple(shape)), "(2, 5)")


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 8, 8), (1, 2, 8, 8), (2, 2, 7, 8), (2, 2, 8, 6)], ids=str)
def test_a_memory_of_another_shape(shape: tuple[int, int, int, int]) -> None:
    """Catches a memory of other layers, batch, slots or size that broadcasts or fails deep inside."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=5)
    memory = Memory(torch.zeros(shape, dtype=x.dtype), torch.full(shape[:3], torch.inf))
    with pytest.raises(ValueError, match="memory") as error:
        core(x, memory)
    assert_one_line(error, str(shape), "(2, 2, 8, 8)")


def test_ages_of_another_shape_than_states() -> None:
    """Catches ages of one layer or row taken for all."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=5)
    good = core.empty_memory(2)
    with pytest.raises(ValueError, match="memory"):
        core(x, Memory(good.mems, good.elapsed_times[:1]))


def test_an_input_of_another_size() -> None:
    """Catches a failure inside a layer norm that doesn't say whose size was wrong."""
    with pytest.raises(ValueError, match="x has the shape") as error:
        make_core(SHORT)(torch.zeros(2, 5, 6, dtype=torch.float64))
    assert_one_line(error, "(2, 5, 6)", "8")


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1)], ids=str)
def test_a_step_with_starts_of_another_shape(shape: tuple[int, ...]) -> None:
    """Catches one flag that resets every row."""
    core, x = make_core(SHORT), make_stream(SHORT, steps=1)
    cache = core.cache(core.empty_memory(2))
    with pytest.raises(ValueError, match="episode_starts") as error:
        core.step(x[:, 0], cache, torch.ones(shape, dtype=torch.bool))
    assert_one_line(error, str(shape), "(2,)")


@pytest.mark.parametrize("shape", [(1, 8), (3, 8), (2, 6), (2, 1, 8)], ids=str)
def test_a_step_with_inputs_of_another_shape(shape: tuple[int, ...]) -> None:
    """Catches one row that broadcasts over the environments of the cache."""
    core = make_core(SHORT)
    cache = core.cache(core.empty_memory(2))
    with pytest.raises(ValueError, match="x has the shape") as error:
        core.step(torch.zeros(shape, dtype=torch.float64), cache)
    assert_one_line(error, str(shape), "(2, 8)")


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (2, 2, 7, 8), (2, 2, 8, 6)], ids=str)
def test_a_cache_of_a_memory_of_another_shape(shape: tuple[int, int, int, int]) -> None:
    """Catches a memory of another core that makes a cache which fails, or fits by accident, at the first step."""
    core = make_core(SHORT)
    memory = Memory(torch.zeros(shape, dtype=torch.float64), torch.full(shape[:3], torch.inf))
    with pytest.raises(ValueError, match="memory") as error:
        core.cache(memory)
    assert_one_line(error, str(shape))


def test_a_language_model_of_sizes_that_do_not_fit() -> None:
    """Catches a shell that hides the core's checks."""
    with pytest.raises(ValueError, match="heads"):
        ExpireSpanTransformerXL(num_tokens=8, dim=12, depth=1, seq_len=8)
    with pytest.raises(ValueError, match="slots"):
        ExpireSpanTransformerXL(num_tokens=8, dim=16, depth=1, seq_len=8, slots=-1)
