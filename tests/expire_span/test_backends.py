"""The attention back-ends are one function: values and gradients against the plain one and the reference."""

import os
import shutil

import pytest
import torch
from torch import Tensor

from tests.expire_span.cases import (
    PLENTY,
    SHORT,
    STEEP,
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

SLOTS = pytest.mark.parametrize("settings", [PLENTY, SHORT, STEEP], ids=["slots plenty", "slots short", "steep"])
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
    for settings in (PLENTY, SHORT, STEEP):
        for length in (32, 16):
            assert_flex_is_plain(settings, length)


def test_flex_refuses_to_be_trained_with() -> None:
    """Catches training with FlexAttention's gradient, which was measured to be wrong for our score function."""
    with pytest.raises(ValueError, match="backend='flex' can't be trained with"):
        run_segments(make_core(PLENTY, backend="flex"), make_stream(PLENTY), 16, STARTS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@SLOTS
def test_sdpa_gradients_agree_on_cuda(settings: Settings) -> None:
    """Catches a bias that CUDA's kernels give no gradient to, or a wrong one: the spans and positions live there."""
    wide = Settings(dim=32, slots=settings.slots)
    dtype, device = torch.float32, "cuda"
    plain, other = make_core(wide, dtype=dtype).to(device), make_core(wide, dtype=dtype, backend="sdpa").to(device)
    x, starts = make_stream(wide, dtype=dtype).to(device), STARTS.to(device)

    def gradients_of(core: object) -> dict[str, Tensor]:
        chosen = other if core is other else plain

        def run(x: Tensor) -> tuple[Tensor, Tensor]:
            out = run_segments(chosen, x, 32, starts)
            return out.output, out.span_loss

        return gradients(chosen, x, run)

    assert_same_gradients(gradients_of(other), gradients_of(plain), bound=1e-3)
