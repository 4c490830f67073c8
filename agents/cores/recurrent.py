"""LSTM and GRU, for comparisons in which nothing but the core differs.

Letters: l layers, b batch (environments, or segments of them), t steps, D dim, H size of a hidden state.
"""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from agents.cores.recurrence import gru, lstm
from agents.cores.sizes import check_whole
from agents.cores.state import StateCore, StateOutput


class LSTMMemory(NamedTuple):
    """What an LSTM carries."""

    hidden: Float[Tensor, "l b H"]
    cell: Float[Tensor, "l b H"]


class GRUMemory(NamedTuple):
    """What a GRU carries."""

    hidden: Float[Tensor, "l b H"]


class RecurrentCore(StateCore):
    """Layers of a recurrent cell, each reading the hidden states of the one below; the last one's, normalised, are
    the output.

    The inputs' products of a whole segment are one matrix product a layer; what is left for each step is the hidden
    state's. Where an episode starts, a step begins with a state of zeros.

    Args:
        dim: size of inputs and outputs.
        depth: number of layers.
        hidden_size: of each layer's state; default: `dim`. A linear layer makes `dim` of another size.
        output_norm: whether outputs are normalised over `dim` (Ba et al. 2016, "Layer Normalization", eq. 4), as a
            transformer's are. What it is worth stands in `experiments/LOG.md`; False: as PyTorch has them.

    Raises:
        ValueError: for sizes that aren't whole numbers, at least 1; an `output_norm` that isn't True or False.
    """

    cell: ClassVar[type[nn.LSTMCell] | type[nn.GRUCell]]
    """Holds a layer's weights, by PyTorch's names and in its order."""
    memory: ClassVar[type[Any]]
    """The named tuple of what is carried, the hidden states first."""

    def __init__(self, dim: int, depth: int, hidden_size: int | None = None, output_norm: bool = True) -> None:
        super().__init__(dim)
        hidden_size = dim if hidden_size is None else hidden_size
        for name, size in (("dim", dim), ("depth", depth), ("hidden_size", hidden_size)):
            check_whole(name, size)
        if not isinstance(output_norm, bool):
            raise ValueError(f"output_norm={output_norm!r} must be True or False")
        self.depth, self.hidden_size = depth, hidden_size
        self.layers = nn.ModuleList(self.cell(hidden_size if i else dim, hidden_size) for i in range(depth))
        self.project = nn.Identity() if hidden_size == dim else nn.Linear(hidden_size, dim)
        self.norm = nn.LayerNorm(dim) if output_norm else nn.Identity()

    def empty_memory(self, batch: int) -> Any:
        """Zeros: the state of `batch` streams before anything happened, on the core's device."""
        weight = next(self.parameters())
        shape = self.depth, batch, self.hidden_size
        return self.memory(*(weight.new_zeros(shape) for _ in self.memory._fields))

    def forward(self, x: Float[Tensor, "b t D"], memory: Any, episode_starts: Bool[Tensor, "b t"]) -> StateOutput:
        """A whole segment; see `StateCore.forward`."""
        after = []
        for layer, *state in zip(self.layers, *memory, strict=True):
            assert isinstance(layer, nn.RNNCellBase)
            states = self._states(layer, x, episode_starts, state)
            x = states[0]
            after.append([part[:, -1] for part in states])
        return StateOutput(self.norm(self.project(x)), self.memory(*map(torch.stack, zip(*after, strict=True))))

    @staticmethod
    @abstractmethod
    def _states(
        layer: nn.RNNCellBase, x: Float[Tensor, "b t X"], starts: Bool[Tensor, "b t"], state: list[Tensor]
    ) -> tuple[Float[Tensor, "b t H"], ...]:
        """A layer's states after each step, from `state` before the first: what the memory holds, in its order."""


class LSTMCore(RecurrentCore):
    """Long short-term memory; arguments as `RecurrentCore`, equations at `agents.cores.recurrence.lstm`.

    Weights start as PyTorch's, uniform within 1 / sqrt(hidden_size); but the forget gates' bias starts at 1, or little
    of a state outlives a few steps (Gers et al. 2000, "Learning to Forget"; Jozefowicz et al. 2015, "An Empirical
    Exploration of Recurrent Network Architectures").
    """

    cell, memory = nn.LSTMCell, LSTMMemory

    def __init__(self, dim: int, depth: int, hidden_size: int | None = None, output_norm: bool = True) -> None:
        super().__init__(dim, depth, hidden_size, output_norm)
        forget = slice(self.hidden_size, 2 * self.hidden_size)
        for layer in self.layers:
            assert isinstance(layer, nn.LSTMCell)
            # PyTorch adds two biases.
            nn.init.ones_(layer.bias_ih.data[forget])
            nn.init.zeros_(layer.bias_hh.data[forget])

    @staticmethod
    def _states(
        layer: nn.RNNCellBase, x: Float[Tensor, "b t X"], starts: Bool[Tensor, "b t"], state: list[Tensor]
    ) -> tuple[Float[Tensor, "b t H"], ...]:
        inputs = functional.linear(x, layer.weight_ih, layer.bias_ih + layer.bias_hh)
        hidden, cell = state
        return lstm(inputs.to(layer.weight_hh.dtype), starts, hidden, cell, layer.weight_hh)


class GRUCore(RecurrentCore):
    """Gated recurrent unit; arguments as `RecurrentCore`, equations at `agents.cores.recurrence.gru`.

    Weights start as PyTorch's, uniform within 1 / sqrt(hidden_size).
    """

    cell, memory = nn.GRUCell, GRUMemory

    @staticmethod
    def _states(
        layer: nn.RNNCellBase, x: Float[Tensor, "b t X"], starts: Bool[Tensor, "b t"], state: list[Tensor]
    ) -> tuple[Float[Tensor, "b t H"], ...]:
        inputs = functional.linear(x, layer.weight_ih, layer.bias_ih)
        (hidden,) = state
        return (gru(inputs.to(layer.weight_hh.dtype), starts, hidden, layer.weight_hh, layer.bias_hh),)
