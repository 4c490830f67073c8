"""Sizes of a core that a training can't make much of: said when the agent is made."""

import warnings

from expire_span import ExpireSpanCore


def check_core(core: object, read_loss_coef: float) -> None:
    """Looks at an expiring memory; other cores have nothing to be said about.

    Raises:
        ValueError: if nothing in the loss would ask for a span.
    """
    if not isinstance(core, ExpireSpanCore):
        return
    if core.learns_spans and not core.ramp_gradient and not read_loss_coef:
        raise ValueError("ramp_gradient=False needs a read_loss_coef above 0: else nothing asks for a span")
    first_span = core.initial_span * core.max_span
    if 0 < core.slots <= core.ramp_length:
        warnings.warn(
            f"slots={core.slots} don't exceed ramp_length={core.ramp_length}: every state lives for the ramp at "
            f"least, so live states will be evicted; take more slots or a shorter ramp",
            stacklevel=4,
        )
    elif core.learns_spans and first_span >= core.slots:
        warnings.warn(
            f"initial_span={core.initial_span:g} of max_span={core.max_span:g}: spans start at {first_span:g} steps, "
            f"and there are {core.slots} slots: every state will be pushed out before it fades, and spans get no "
            f"gradient; leave initial_span out, or take more slots",
            stacklevel=4,
        )
