"""The gradient of a minibatch as one program; on CUDA one captured graph."""

import operator
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from agents.captured import Machinery, captured, compiled, places
from agents.loss import LossParts, Weights, ppo_loss
from agents.policies import ExpireSpanActorCriticPolicy
from agents.rollout import SegmentRolloutBuffer


class GradientSettings(NamedTuple):
    """What a program is made for: with others it is another one."""

    segments: int
    """Of a minibatch."""
    clips_value: bool
    normalize_advantage: bool
    """To mean 0 and deviation 1 in each minibatch."""
    min_advantage_std: float
    """The least deviation that advantages are divided by."""
    max_grad_norm: float
    """The gradient's norm is cut to it."""


class MinibatchGradient:
    """Reads a minibatch from the buffer and leaves the gradient in the policy's parameters, its norm cut.

    Args:
        policy: whose parameters.
        buffer: the rollout.
        weights: of the loss's parts, until `weigh`.
        settings: of the program.
        machinery: whether to compile the loss, and to capture a CUDA graph of it and its gradient.
    """

    def __init__(
        self,
        policy: ExpireSpanActorCriticPolicy,
        buffer: SegmentRolloutBuffer,
        weights: Weights,
        settings: GradientSettings,
        machinery: Machinery,
    ) -> None:
        self._policy, self._buffer, self._weights, self._settings = policy, buffer, weights, settings
        self._loss = compiled(ppo_loss, machinery.device) if machinery.compiles else ppo_loss
        self._parameters, self._places = _learning(policy), places(policy)
        # Parts of one flat tensor for each data type, so that a norm, or a factor, is one operation, not one for each
        # parameter. Always the same tensors: a captured graph writes into them.
        self._flat, parts = {}, {}
        for dtype in dict.fromkeys(parameter.dtype for parameter in self._parameters):
            alike = [parameter for parameter in self._parameters if parameter.dtype == dtype]
            self._flat[dtype] = torch.zeros_like(parameters_to_vector(alike).detach())
            parts[dtype] = iter(self._flat[dtype].split([parameter.numel() for parameter in alike]))
        self._gradients = [next(parts[parameter.dtype]).view_as(parameter) for parameter in self._parameters]
        self._rows = torch.zeros(settings.segments, dtype=torch.long, device=policy.device)
        self._parts = torch.zeros(len(LossParts._fields), device=policy.device)
        # The loss compiles its own gradient; cutting it compiles to nothing faster.
        self._machinery = machinery._replace(compiles=False)
        self._run: Callable[[], None] | None = None

    def __call__(self, rows: Int[Tensor, " segments"]) -> LossParts:
        """The loss of these segments of the buffer and its parts; the gradient is left in the parameters."""
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        if rows.shape != self._rows.shape:  # the last of a pass may be smaller
            self._program(rows)
        else:
            self._rows.copy_(rows)
            if self._run is None:
                self._run = captured(lambda: self._program(self._rows), lambda: None, self._machinery)
            self._run()
        return LossParts(*self._parts.clone())

    def fits(self, settings: GradientSettings) -> bool:
        """Whether it was made for these settings, and for the parameters that learn now: some may have been frozen
        since, or let go, or lie elsewhere."""
        now = _learning(self._policy)
        same = len(now) == len(self._parameters) and all(map(operator.is_, now, self._parameters))
        return same and settings == self._settings and places(self._policy) == self._places

    def weigh(self, weights: Weights) -> None:
        """Takes other weights of the loss's parts, into the tensors that a captured graph reads."""
        for mine, given in zip(self._weights, weights, strict=True):
            if mine is not None and given is not None:
                mine.copy_(given)

    def _program(self, rows: Int[Tensor, " segments"]) -> None:
        batch = self._buffer.minibatch(rows)
        settings = self._settings
        parts = self._loss(self._policy, batch, self._weights, settings.normalize_advantage, settings.min_advantage_std)
        gradients = torch.autograd.grad(parts.loss, self._parameters, materialize_grads=True)
        for dtype, flat in self._flat.items():
            torch.cat([gradient.flatten() for gradient in gradients if gradient.dtype == dtype], out=flat)
        norms = [flat.norm() for flat in self._flat.values()]
        norm = norms[0] if len(norms) == 1 else torch.stack([one.float() for one in norms]).norm()
        for flat in self._flat.values():
            flat.mul_((settings.max_grad_norm / (norm + 1e-6)).clamp(max=1))
            # One that isn't finite would cost all that was learned; `check_update` tells of it afterwards.
            flat.masked_fill_(~norm.isfinite(), 0)
        self._parts.copy_(torch.stack([part.detach() for part in parts]))


def _learning(policy: ExpireSpanActorCriticPolicy) -> list[torch.nn.Parameter]:
    return [parameter for parameter in policy.parameters() if parameter.requires_grad]
