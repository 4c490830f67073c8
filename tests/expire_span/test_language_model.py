"""The language model: its signature, its memory across calls, and a recall task that equal spans can't do."""

import inspect
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from expire_span import ExpireSpanTransformerXL, Memory


def small_model(seed: int = 0, **options: Any) -> ExpireSpanTransformerXL:
    torch.manual_seed(seed)
    return ExpireSpanTransformerXL(
        num_tokens=11, dim=16, depth=2, seq_len=8, heads=2, num_memory_blocks=3, ramp_length=4, **options
    ).eval()


def some_tokens(steps: int, batch: int = 3, seed: int = 1) -> Tensor:
    return torch.randint(0, 11, (batch, steps), generator=torch.Generator().manual_seed(seed))


def test_signature_and_defaults_are_the_first_ones() -> None:
    """Catches a renamed, reordered or positional argument, or another default, that breaks a script which worked."""
    parameters = inspect.signature(ExpireSpanTransformerXL).parameters
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())
    required = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty]
    assert required == ["num_tokens", "dim", "depth", "seq_len"]
    defaults = {name: p.default for name, p in parameters.items() if name not in required}
    first = {"heads": 8, "num_memory_blocks": 10, "expire_loss_coef": 1e-6, "ramp_length": 128}
    assert {name: defaults[name] for name in first} == first
    assert defaults["slots"] is None
    assert list(inspect.signature(ExpireSpanTransformerXL.forward).parameters)[2:] == ["memory"]
    assert inspect.signature(ExpireSpanTransformerXL.forward).parameters["memory"].default is None


def test_it_returns_logits_memory_and_auxiliary_loss() -> None:
    """Catches another order or type of results, slots that don't default to all that max_mem_len can hold, and an
    auxiliary loss that is no scalar."""
    model = small_model()
    logits, memory, aux_loss = model(some_tokens(8))
    assert logits.shape == (3, 8, 11)
    assert isinstance(memory, Memory)
    assert memory.mems.shape == (2, 3, 24, 16)
    assert memory.elapsed_times.shape == (2, 3, 24)
    assert aux_loss.shape == ()
    assert small_model(slots=5)(some_tokens(8))[1].mems.shape == (2, 3, 5, 16)


def test_the_defaults_work() -> None:
    """Catches defaults that don't fit each other."""
    model = ExpireSpanTransformerXL(num_tokens=5, dim=16, depth=1, seq_len=4)
    logits, memory, aux_loss = model(torch.randint(0, 5, (2, 4)))
    assert memory.mems.shape == (1, 2, 40, 16)
    (logits.sum() + aux_loss).backward()


@torch.no_grad()
def test_the_auxiliary_loss_is_the_core_s_times_its_coefficient() -> None:
    """Catches a coefficient applied twice or never, and a loss that depends on the size of the batch."""
    tokens = some_tokens(30)
    losses = {coef: small_model(expire_loss_coef=coef)(tokens)[2] for coef in (0.0, 1.0, 0.25)}
    model = small_model()
    span_loss = model.core(model.token_emb(tokens)).span_loss
    assert float(span_loss) > 0.1
    assert float(losses[0.0]) == 0
    torch.testing.assert_close(losses[1.0], span_loss)
    torch.testing.assert_close(losses[0.25], span_loss / 4)
    twice = small_model(expire_loss_coef=1.0)(tokens.repeat(2, 1))[2]
    torch.testing.assert_close(twice, losses[1.0])


@pytest.mark.parametrize("slots", [None, 4])
@pytest.mark.parametrize("pieces", [[8, 8, 8, 8], [1] * 32, [5, 20, 1, 6]], ids=str)
@torch.no_grad()
def test_memory_is_carried_whatever_the_lengths(slots: int | None, pieces: list[int]) -> None:
    """Catches the seed's storing only when a call has `seq_len` tokens, so that reading one by one never stored."""
    model, tokens = small_model(slots=slots), some_tokens(32)
    whole = model(tokens)[0]
    memory, logits = None, []
    for part in tokens.split(pieces, dim=1):
        out, memory, _ = model(part, memory)
        logits.append(out)
    torch.testing.assert_close(torch.cat(logits, dim=1), whole, rtol=1e-4, atol=1e-5)
    forgetful = torch.cat([model(part)[0] for part in tokens.split(pieces, dim=1)], dim=1)
    assert float((forgetful - whole).abs().max()) > 1e-3


def test_the_memory_is_detached_and_still_teaches() -> None:
    """Catches a graph that grows with every call, and spans that learn nothing from carried memories."""
    model, tokens = small_model(), some_tokens(16)
    _, memory, _ = model(tokens[:, :8])
    assert not memory.mems.requires_grad
    assert not memory.elapsed_times.requires_grad
    logits, _, aux_loss = model(tokens[:, 8:], memory)
    (logits.square().mean() + aux_loss).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


@torch.no_grad()
def test_training_shortens_at_random_and_evaluation_does_not() -> None:
    """Catches the regularisation left out of training, or left on in evaluation."""
    model, tokens = small_model(), some_tokens(30)
    assert torch.equal(model(tokens)[0], model(tokens)[0])
    model.train()
    assert not torch.equal(model(tokens)[0], model(tokens)[0])


# The recall task: a cue, then noise and questions at random; the answer to every question is the cue. With one layer
# no state but the cue's own tells what the cue was.
CUES, NOISE = 4, 4
QUESTION = CUES + NOISE
SLOTS, LENGTH = 12, 36


def recall_batch(size: int, generator: torch.Generator) -> Tensor:
    tokens = torch.randint(CUES, QUESTION, (size, LENGTH), generator=generator)
    tokens[torch.rand(size, LENGTH, generator=generator) < 0.4] = QUESTION
    tokens[:, 0] = torch.randint(0, CUES, (size,), generator=generator)
    return tokens


def learn_recall(spans: Literal["learned", "fixed"], seed: int = 0, steps: int = 600) -> ExpireSpanTransformerXL:
    torch.manual_seed(seed)
    model = ExpireSpanTransformerXL(
        num_tokens=QUESTION + 1,
        dim=16,
        depth=1,
        seq_len=8,
        heads=2,
        expire_loss_coef=3e-4,
        ramp_length=4,
        slots=SLOTS,
        spans=spans,
    )
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        tokens = recall_batch(32, generator)
        logits, _, aux_loss = model(tokens)
        asked = tokens == QUESTION
        answers = tokens[:, :1].expand_as(tokens)
        loss = functional.cross_entropy(logits[asked], answers[asked]) + aux_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def recall(model: ExpireSpanTransformerXL, pieces: int) -> tuple[float, float]:
    """Share of right answers, read `pieces` tokens a call: while the cue would fit a window of slots, and later."""
    tokens = recall_batch(300, torch.Generator().manual_seed(99))
    memory, logits = None, []
    for part in tokens.split(pieces, dim=1):
        out, memory, _ = model(part, memory)
        logits.append(out)
    right = (torch.cat(logits, dim=1).argmax(-1) == tokens[:, :1]).float()
    asked, late = tokens == QUESTION, torch.arange(LENGTH) > SLOTS
    return float(right[asked & ~late].mean()), float(right[asked & late].mean())


@pytest.mark.slow
def test_it_recalls_past_its_slots_where_equal_spans_cannot() -> None:
    """Catches spans that don't learn, or slots that aren't kept by death time. Both models have 12 slots and train
    alike. Chance is 0.25: with equal spans the cue is gone once more than 12 tokens have followed; until then that
    control must answer too, or it has learned nothing. Over 12 seeds learned spans reached 0.87 at the least."""
    learned, fixed = learn_recall("learned"), learn_recall("fixed")
    for pieces in (LENGTH, 8, 1):
        assert recall(learned, pieces)[1] > 0.85
        early, late = recall(fixed, pieces)
        assert early > 0.95
        assert late < 0.4
