"""What a core is made with, looked at where it is given."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import get_args

import torch

from expire_span.attention import Backend
from expire_span.span import Spans


@dataclass(frozen=True)
class CoreSettings:
    """Of an `ExpireSpanCore`, whose arguments they are: it says what each is.

    Raises:
        ValueError: for the first that can't be, or doesn't go with another, naming it.
    """

    dim: int
    depth: int
    heads: int
    slots: int
    max_span: float
    ramp_length: float
    seq_len: int
    spans: Spans
    initial_span: float | None
    backend: Backend
    ramp_power: float
    read_margin: float
    log_position: bool
    count_matches: bool
    ramp_gradient: bool

    def __post_init__(self) -> None:
        self._check_types()
        for met, message in self._demands():
            if not met:
                raise ValueError(message)

    @property
    def learns_spans(self) -> bool:
        """Whether there are spans that a loss can move."""
        return self.spans == "learned" and self.slots > 0

    @property
    def starting_share(self) -> float:
        """The share of `max_span` that spans start at: `initial_span`, or what fills the slots, and 0.4 at most.

        Remembering all that fits is the start from which forgetting is learned fastest: a cue that is older than every
        span gives no gradient. Longer spans than that are worse: all start alike, so a state is pushed out after as
        many steps as there are slots, and one that is pushed out before it has faded gives none either; the core stays
        a Transformer-XL.
        """
        if self.initial_span is not None:
            return self.initial_span
        if not self.slots:
            return 0.1
        return min(0.4, max(self.slots - self.ramp_length, self.slots / 2) / self.max_span)

    def _check_types(self) -> None:
        for name in ("dim", "depth", "heads", "slots", "seq_len"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise ValueError(f"{name}={value!r} must be a whole number")
        numbers = ("max_span", "ramp_length", *(("initial_span",) if self.initial_span is not None else ()))
        for name in (*numbers, "ramp_power", "read_margin"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool):
                raise ValueError(f"{name}={value!r} must be a number")
        for name in ("log_position", "count_matches", "ramp_gradient"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(f"{name}={value!r} must be True or False")

    def _demands(self) -> list[tuple[bool, str]]:
        """What must hold, and what is said where it doesn't."""
        dim, heads, spans, backend = self.dim, self.heads, self.spans, self.backend
        greatest = torch.finfo(torch.float32).max
        return [
            (dim > 0 and dim % 2 == 0, f"dim={dim} must be a positive even number (positions are sines and cosines)"),
            (heads > 0 and dim % max(heads, 1) == 0, f"heads={heads} must divide dim={dim}"),
            (self.depth > 0, f"depth={self.depth} must be at least 1"),
            (self.slots >= 0, f"slots={self.slots} must be 0 (no memory) or more"),
            (0 < self.max_span < greatest, f"max_span={self.max_span} must be greater than 0, and finite"),
            (0 < self.ramp_length < greatest, f"ramp_length={self.ramp_length} must be greater than 0, and finite"),
            (0 < self.ramp_power <= 100, f"ramp_power={self.ramp_power} must be greater than 0, and at most 100"),
            (self.seq_len > 0, f"seq_len={self.seq_len} must be at least 1"),
            (
                self.initial_span is None or 0 < self.initial_span < 1,
                f"initial_span={self.initial_span} is a share of max_span, between 0 and 1",
            ),
            (spans in get_args(Spans), f"spans={spans!r} must be one of {get_args(Spans)}"),
            (backend in get_args(Backend), f"backend={backend!r} must be one of {get_args(Backend)}"),
            (
                self.log_position or not self.count_matches,
                "count_matches=True is about positions by count: it needs log_position=True",
            ),
            (
                self.read_margin == 0 or 1 <= self.read_margin <= 100,
                f"read_margin={self.read_margin} must be 0, or between 1 and 100",
            ),
            (
                bool(self.read_margin) or self.ramp_gradient or not self.learns_spans,
                "ramp_gradient=False needs a read_margin: else nothing asks for a span",
            ),
            (
                not self.read_margin or backend == "plain" or not self.learns_spans,
                f"read_margin={self.read_margin} needs backend='plain', the only one that tells what is read",
            ),
        ]
