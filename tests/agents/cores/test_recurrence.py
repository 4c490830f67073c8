"""LSTM and GRU with episode starts, against PyTorch's own and its cells."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agents.cores import GRUCore, LSTMCore
from agents.cores.recurrence import gru, lstm

DIM, DEPTH, BATCH = 6, 2, 3


def torch_twin(core: LSTMCore | GRUCore) -> nn.LSTM | nn.GRU:
    """PyTorch's own module with the core's weights."""
    kind = nn.LSTM if isinstance(core, LSTMCore) else nn.GRU
    twin = kind(DIM, core.hidden_size, core.depth, batch_first=True, dtype=torch.float64)
    for number, layer in enumerate(core.layers):
        twin.load_state_dict({f"{name}_l{number}": weight for name, weight in layer.state_dict().items()}, strict=False)
    return twin


@pytest.mark.parametrize("output_norm", [True, False])
@pytest.mark.parametrize("kind", [LSTMCore, GRUCore])
def test_an_unbroken_segment_is_pytorchs(kind: type[LSTMCore | GRUCore], output_norm: bool) -> None:
    """Would catch: gates in another order, a bias forgotten, a wrong gradient of weights, inputs or first states;
    states that are carried normalised, or outputs that aren't."""
    torch.manual_seed(0)
    core = kind(DIM, DEPTH, output_norm=output_norm).double()
    twin = torch_twin(core)
    x = torch.randn(BATCH, 9, DIM, dtype=torch.float64, requires_grad=True)
    first = [torch.randn(DEPTH, BATCH, DIM, dtype=torch.float64, requires_grad=True) for _ in core.memory._fields]
    out = core(x, core.memory(*first), torch.zeros(BATCH, 9, dtype=torch.bool))
    expected, last = twin(x, tuple(first) if len(first) > 1 else first[0])
    last = last if isinstance(last, tuple) else (last,)
    if output_norm:
        expected = (expected - expected.mean(-1, keepdim=True)) / (
            expected.var(-1, correction=0, keepdim=True) + 1e-5
        ).sqrt()
    torch.testing.assert_close(out.output, expected)
    torch.testing.assert_close([*out.memory], [*last])

    def grads(output: Tensor, states: tuple[Tensor, ...], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
        # Squares of what is normalised add up to a constant.
        total = output.pow(3).sum() + sum(part.exp().sum() for part in states)
        return torch.autograd.grad(total, [x, *first, *weights])

    ours = [weight for layer in core.layers for weight in layer.parameters()]
    for mine, reference in zip(
        grads(out.output, tuple(out.memory), ours), grads(expected, last, [*twin.parameters()]), strict=True
    ):
        torch.testing.assert_close(mine, reference)


@st.composite
def streams(draw: st.DrawFn) -> Tensor:
    """Episode starts of any pattern."""
    steps = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=steps, max_size=steps), min_size=BATCH, max_size=BATCH))
    return torch.tensor(rows)


@settings(max_examples=30)
@given(starts=streams(), is_lstm=st.booleans())
def test_episode_starts_against_cells(starts: Tensor, is_lstm: bool) -> None:
    """Would catch: a state or a gradient that crosses an episode's start, or is lost at another's."""
    torch.manual_seed(1)
    cell: nn.LSTMCell | nn.GRUCell = (nn.LSTMCell if is_lstm else nn.GRUCell)(DIM, DIM, dtype=torch.float64)
    x = torch.randn(*starts.shape, DIM, dtype=torch.float64, requires_grad=True)
    first = [torch.randn(BATCH, DIM, dtype=torch.float64, requires_grad=True) for _ in range(1 + is_lstm)]
    state, outputs = first, []
    for t in range(starts.shape[1]):
        state = [torch.where(starts[:, t, None], 0.0, part) for part in state]
        state = [*cell(x[:, t], tuple(state))] if is_lstm else [cell(x[:, t], state[0])]
        outputs.append(state[0])
    if is_lstm:
        inputs = nn.functional.linear(x, cell.weight_ih, cell.bias_ih + cell.bias_hh)
        found = lstm(inputs, starts, first[0], first[1], cell.weight_hh)[0]
    else:
        inputs = nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
        found = gru(inputs, starts, first[0], cell.weight_hh, cell.bias_hh)
    expected = torch.stack(outputs, dim=1)
    torch.testing.assert_close(found, expected)
    wanted = [x, *first, *cell.parameters()]
    weights = torch.randn_like(expected)
    mine, reference = (torch.autograd.grad((of * weights).sum(), wanted) for of in (found, expected))
    torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("operator", ["lstm", "gru"])
def test_operators_are_what_a_compiler_is_told(operator: str) -> None:
    """Would catch: a shape or type told to `torch.compile` other than the real one, an input that is changed, outputs
    that share memory: wrong only once compiled."""
    torch.manual_seed(2)
    gates = 4 if operator == "lstm" else 3
    inputs = torch.randn(BATCH, 5, gates * DIM, requires_grad=True)
    starts = torch.rand(BATCH, 5) < 0.3
    state = [torch.randn(BATCH, DIM, requires_grad=True) for _ in range(gates - 2)]
    weights = [torch.randn(gates * DIM, DIM, requires_grad=True)]
    if operator == "gru":
        weights.append(torch.randn(gates * DIM, requires_grad=True))
    name = getattr(torch.ops.expire_span, operator).default
    # The whole of AOT's dispatch is checked where the agent is compiled.
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(name, (inputs, starts, *state, *weights), test_utils=tests)


@pytest.mark.parametrize("kind", [LSTMCore, GRUCore])
@torch.no_grad()
def test_the_state_stays_float32_under_autocast(kind: type[LSTMCore | GRUCore]) -> None:
    """Would catch: a state rounded to bfloat16 at each step, or a memory of another type than the buffer's."""
    torch.manual_seed(0)
    core = kind(8, 2, hidden_size=16)
    x, starts = torch.randn(BATCH, 20, 8), torch.zeros(BATCH, 20, dtype=torch.bool)
    exact = core(x, core.empty_memory(BATCH), starts)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = core(x, core.empty_memory(BATCH), starts)
    for mine, reference in zip(rounded.memory, exact.memory, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, reference, rtol=0, atol=0.02)


def test_forget_gates_start_open() -> None:
    """Would catch: a bias of 1 in another gate, or two that add up to 2."""
    for layer in LSTMCore(4, 2, hidden_size=3).layers:
        assert isinstance(layer, nn.LSTMCell)
        bias = layer.bias_ih + layer.bias_hh
        assert (bias[3:6] == 1).all()
        assert (torch.cat((bias[:3], bias[6:])).abs() < 2 / 3**0.5).all()


def test_sizes_that_do_not_fit() -> None:
    """Would catch: a bare traceback of PyTorch's."""
    for sizes in ((0, 1, 4), (4, -1, 4), (4, 1, True)):
        with pytest.raises(ValueError, match="must be a whole number, at least 1"):
            LSTMCore(*sizes)
