"""The attention back-ends are one function: values and gradients against the plain one and the reference."""

import os
import shutil

import pytest
import torch
from torch import Tensor

from tests.expire_span.cases import (
    PLENTY,
    SHORT,
    STEPS,
    assert_same_gradients,
    close,
    episodes,
    gradients,
    make_core,
    make_stream,
    run_segments,
)
from tests.expire_span.reference import Settings

SLOTS = pytest.mark.parametrize("settings", [PLENTY, SHORT], ids=["slots plenty", "slots short"])
STARTS = episodes(STEPS, [0, 16, 31, 32, 37, 45], [STEPS - 2])
HAS_COMPILER = shutil.which(os.environ.get("CXX", "g++")) is not None


@SLOTS
def test_sdpa_agrees_with_plain(settings: Settings) -> None:
    """Catches a second scaling of the logits, a mask that SDPA drops, and a bias that keeps no gradient, without which
    the spans would stop learning under the fast back-end."""
    plain, sdpa = make_core(settings, backend="plain"), make_core(settings, backend="sdpa")
    x = make_stream(settings)
    ours, theirs = run_segments(sdpa, x, 16, STARTS), run_segments(plain, x, 16, STARTS)
    close(ours.output, theirs.output, "outputs")
    close(ours.span_loss, theirs.span_loss, "span loss")
    close(ours.memory.mems, theirs.memory.mems, "memory")
    torch.testing.assert_close(ours.memory.elapsed_times, theirs.memory.elapsed_times)

    def run(core: object, x: Tensor) -> tuple[Tensor, Tensor]:
        out = run_segments(sdpa if core is sdpa else plain, x, 16, STARTS)
        return out.output, out.span_loss

    actual = gradients(sdpa, x, lambda x: run(sdpa, x))
    assert_same_gradients(actual, gradients(plain, x, lambda x: run(plain, x)), bound=1e-7)


def assert_flex_is_plain(settings: Settings, length: int) -> None:
    dtype = torch.float32
    plain, flex = make_core(settings, dtype=dtype), make_core(settings, dtype=dtype, backend="flex")
    x = make_stream(settings, dtype=dtype)
    ours, theirs = run_segments(flex, x, length, STARTS), run_segments(plain, x, length, STARTS)
    close(ours.output, theirs.output, "outputs")
    close(ours.span_loss, theirs.span_loss, "span loss")
    torch.testing.assert_close(ours.memory.elapsed_times, theirs.memory.elapsed_times)


@SLOTS
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile", "ignore::DeprecationWarning:torch")
@torch.no_grad()
def test_flex_agrees_with_plain_forward(settings: Settings) -> None:
    """Catches a score function that indexes another row, head, query or key than plain attention does. Run without
    compilation, which takes half a minute."""
    with torch.compiler.set_stance("force_eager"):
        assert_flex_is_plain(settings, 16)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="FlexAttention is compiled on the CPU, which needs a C++ compiler")
@torch.no_grad()
def test_flex_agrees_with_plain_forward_compiled() -> None:
    """Catches a compiled kernel that fails or errs from its second shape on: other slots, other segments."""
    for settings in (PLENTY, SHORT):
        for length in (32, 16):
            assert_flex_is_plain(settings, length)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention has no backward pass on the CPU")
@pytest.mark.parametrize("backend", ["sdpa", "flex"])
@SLOTS
def test_gradients_agree_on_cuda(settings: Settings, backend: str) -> None:
    """Catches a score function whose captured tensors (spans, positions) get no gradient, or a wrong one."""
    # 16 is the smallest head that FlexAttention's kernels take.
    wide = Settings(dim=32, slots=settings.slots)
    dtype, device = torch.float32, "cuda"
    plain, other = make_core(wide, dtype=dtype).to(device), make_core(wide, dtype=dtype, backend=backend).to(device)
    x, starts = make_stream(wide, dtype=dtype).to(device), STARTS.to(device)

    def gradients_of(core: object) -> dict[str, Tensor]:
        chosen = other if core is other else plain

        def run(x: Tensor) -> tuple[Tensor, Tensor]:
            out = run_segments(chosen, x, 32, starts)
            return out.output, out.span_loss

        return gradients(chosen, x, run)

    assert_same_gradients(gradients_of(other), gradients_of(plain), bound=1e-3)
