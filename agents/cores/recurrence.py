"""LSTM and GRU over a segment in which episodes may start, as operators of their own with their gradients.

PyTorch's own can't begin anew within a sequence, and a loop over its cells costs more: its gradient makes a product for
the weights at each step, where one for all steps is enough, and `torch.compile` unrolls it for minutes. To a compiler
these are single operators. No shape depends on data, and nothing waits for the host.

Letters: b batch, t steps, H size of a hidden state, G = 4 H gates of an LSTM, 3 H of a GRU. Gates are in PyTorch's
order. Numbers are those of the weights' type, under autocast too: a state is a sum over many steps.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

# From the gradient of an activation, and what it gave, to the gradient of its input.
sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward


def lstm(
    inputs: Float[Tensor, "b t G"],
    starts: Bool[Tensor, "b t"],
    hidden: Float[Tensor, "b H"],
    cell: Float[Tensor, "b H"],
    weight: Float[Tensor, "G H"],
) -> tuple[Float[Tensor, "b t H"], Float[Tensor, "b t H"]]:
    """Hidden states and cells after each step of a long short-term memory (Hochreiter and Schmidhuber 1997).

        i, f, g, o = inputs_t + weight h_{t-1}
        c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);  h_t = sigmoid(o) tanh(c_t)

    with h_{t-1} = c_{t-1} = 0 where step t begins an episode.

    Args:
        inputs: the gates' products with each step's input, biases included.
        starts: True at the steps that begin an episode.
        hidden, cell: before the first step.
        weight: of the hidden state in the gates.
    """
    outputs, cells, _ = _lstm(inputs, starts, hidden, cell, weight)
    return outputs, cells


def gru(
    inputs: Float[Tensor, "b t G"],
    starts: Bool[Tensor, "b t"],
    hidden: Float[Tensor, "b H"],
    weight: Float[Tensor, "G H"],
    bias: Float[Tensor, " G"],
) -> Float[Tensor, "b t H"]:
    """Hidden states after each step of a gated recurrent unit (Cho et al. 2014, arXiv 1406.1078) in PyTorch's form.

        r, z, n = inputs_t;  r', z', n' = weight h_{t-1} + bias
        h_t = (1 - u) tanh(n + sigmoid(r + r') n') + u h_{t-1},  u = sigmoid(z + z')

    with h_{t-1} = 0 where step t begins an episode. Arguments as `lstm`; `bias` is that of the hidden state's products.
    """
    outputs: Tensor = _gru(inputs, starts, hidden, weight, bias)[0]
    return outputs


# An operator's description is read from plain annotations, so shapes stand in comments.


@torch.library.custom_op("expire_span::lstm", mutates_args=())
def _lstm(
    inputs: Tensor, starts: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    # Hidden states (b t H), cells (b t H); and the gates (b t G) after their sigmoid or tanh, for the gradient.
    outputs, cells, gates = [], [], []
    with torch.autocast(inputs.device.type, enabled=False):
        for given, start in zip(inputs.unbind(1), starts[..., None].unbind(1), strict=True):
            hidden, cell = hidden.masked_fill(start, 0), cell.masked_fill(start, 0)
            i, f, g, o = (given + functional.linear(hidden, weight)).chunk(4, dim=-1)
            i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
            cell = f * cell + i * g
            hidden = o * cell.tanh()
            outputs.append(hidden)
            cells.append(cell)
            gates.append(torch.cat((i, f, g, o), dim=-1))
    return torch.stack(outputs, dim=1), torch.stack(cells, dim=1), torch.stack(gates, dim=1)


@_lstm.register_fake
def _(inputs: Tensor, starts: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    shape = *inputs.shape[:2], hidden.shape[-1]
    return hidden.new_empty(shape), hidden.new_empty(shape), torch.empty_like(inputs)


@torch.library.custom_op("expire_span::lstm_backward", mutates_args=())
def _lstm_backward(
    grad_outputs: Tensor,
    grad_cells: Tensor,
    starts: Tensor,
    before: Tensor,
    cells: Tensor,
    gates: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    # Gradients of inputs (b t G), hidden (b H), cell (b H). `before` (b t H) are the cells that each step began with.
    grads = []
    grad_hidden, grad_cell = torch.zeros_like(before[:, 0]), torch.zeros_like(before[:, 0])
    for t in reversed(range(gates.shape[1])):
        i, f, g, o = gates[:, t].chunk(4, dim=-1)
        shown = cells[:, t].tanh()
        grad_hidden = grad_hidden + grad_outputs[:, t]
        grad_cell = grad_cell + grad_cells[:, t] + tanh_backward(grad_hidden * o, shown)
        of_gates = (
            sigmoid_backward(grad_cell * g, i),
            sigmoid_backward(grad_cell * before[:, t], f),
            tanh_backward(grad_cell * i, g),
            sigmoid_backward(grad_hidden * shown, o),
        )
        grads.append(torch.cat(of_gates, dim=-1))
        start = starts[:, t, None]
        grad_hidden = (grads[-1] @ weight).masked_fill(start, 0)
        grad_cell = (grad_cell * f).masked_fill(start, 0)
    return torch.stack(grads[::-1], dim=1), grad_hidden, grad_cell


@_lstm_backward.register_fake
def _(
    grad_outputs: Tensor,
    grad_cells: Tensor,
    starts: Tensor,
    before: Tensor,
    cells: Tensor,
    gates: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(gates), before.new_empty(before[:, 0].shape), before.new_empty(before[:, 0].shape)


@torch.library.custom_op("expire_span::gru", mutates_args=())
def _gru(inputs: Tensor, starts: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    # Hidden states (b t H); and r, u, tanh(n + r n') and n', (b t 4H), for the gradient.
    outputs, gates = [], []
    with torch.autocast(inputs.device.type, enabled=False):
        for given, start in zip(inputs.unbind(1), starts[..., None].unbind(1), strict=True):
            hidden = hidden.masked_fill(start, 0)
            own, recurrent = given.chunk(3, dim=-1), functional.linear(hidden, weight, bias).chunk(3, dim=-1)
            r, u = (own[0] + recurrent[0]).sigmoid(), (own[1] + recurrent[1]).sigmoid()
            n = (own[2] + r * recurrent[2]).tanh()
            hidden = (1 - u) * n + u * hidden
            outputs.append(hidden)
            gates.append(torch.cat((r, u, n, recurrent[2]), dim=-1))
    return torch.stack(outputs, dim=1), torch.stack(gates, dim=1)


@_gru.register_fake
def _(inputs: Tensor, starts: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    lead, size = inputs.shape[:2], hidden.shape[-1]
    return hidden.new_empty((*lead, size)), hidden.new_empty((*lead, 4 * size))


@torch.library.custom_op("expire_span::gru_backward", mutates_args=())
def _gru_backward(
    grad_outputs: Tensor, starts: Tensor, before: Tensor, gates: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    # Gradients of inputs (b t G), of the hidden state's products (b t G), of hidden (b H).
    # `before` (b t H) are the hidden states that each step began with.
    grads, products = [], []
    grad_hidden = torch.zeros_like(before[:, 0])
    for t in reversed(range(gates.shape[1])):
        r, u, n, recurrent = gates[:, t].chunk(4, dim=-1)
        grad_hidden = grad_hidden + grad_outputs[:, t]
        grad_n = tanh_backward(grad_hidden * (1 - u), n)
        grad_r = sigmoid_backward(grad_n * recurrent, r)
        grad_u = sigmoid_backward(grad_hidden * (before[:, t] - n), u)
        grads.append(torch.cat((grad_r, grad_u, grad_n), dim=-1))
        products.append(torch.cat((grad_r, grad_u, grad_n * r), dim=-1))
        grad_hidden = (grad_hidden * u + products[-1] @ weight).masked_fill(starts[:, t, None], 0)
    return torch.stack(grads[::-1], dim=1), torch.stack(products[::-1], dim=1), grad_hidden


@_gru_backward.register_fake
def _(
    grad_outputs: Tensor, starts: Tensor, before: Tensor, gates: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    shape = *before.shape[:2], weight.shape[0]
    return before.new_empty(shape), before.new_empty(shape), before.new_empty(before[:, 0].shape)


def _began_with(first: Tensor, after: Tensor, starts: Tensor) -> Tensor:
    """The states (b t H) that steps began with: of the steps before, and zeros where an episode starts."""
    return torch.cat((first[:, None], after[:, :-1]), dim=1).masked_fill(starts[..., None], 0)


def _lstm_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    _, starts, hidden, cell, weight = inputs
    ctx.save_for_backward(starts, hidden, cell, weight, *output)


def _lstm_gradient(ctx: Any, grad_outputs: Tensor, grad_cells: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    starts, hidden, cell, weight, outputs, cells, gates = ctx.saved_tensors
    before = _began_with(cell, cells, starts)
    grads, grad_hidden, grad_cell = _lstm_backward(grad_outputs, grad_cells, starts, before, cells, gates, weight)
    grad_weight = grads.flatten(0, 1).T @ _began_with(hidden, outputs, starts).flatten(0, 1)
    return grads, None, grad_hidden, grad_cell, grad_weight


def _gru_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    _, starts, hidden, weight, _ = inputs
    ctx.save_for_backward(starts, hidden, weight, *output)


def _gru_gradient(ctx: Any, grad_outputs: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    starts, hidden, weight, outputs, gates = ctx.saved_tensors
    before = _began_with(hidden, outputs, starts)
    grads, products, grad_hidden = _gru_backward(grad_outputs, starts, before, gates, weight)
    flat = products.flatten(0, 1)
    return grads, None, grad_hidden, flat.T @ before.flatten(0, 1), flat.sum(0)


_lstm.register_autograd(_lstm_gradient, setup_context=_lstm_context)
_gru.register_autograd(_gru_gradient, setup_context=_gru_context)
