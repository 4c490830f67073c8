"""The price of memory: charged only while more is alive than the budget allows."""

from expire_span import ExpireSpanCore


def default_budget(core: object) -> float:
    """Live memories that cost nothing unless it is said: those that the ramp keeps alive anyway, and half of the other
    slots.

    A budget of the ramp or less can't be met: the price would stay at its ceiling, and wear away the spans that the
    reward needs.
    """
    if not isinstance(core, ExpireSpanCore):
        return 0.0
    return (core.slots + min(core.ramp_length, core.slots)) / 2


def coefficient(live_memories: float, budget: float, ceiling: float) -> float:
    """The weight of the spans in the loss, for what doesn't fit the budget: 0 up to it, the ceiling from twice it on.

    With a constant weight spans collapse before the memory becomes useful: as long as the reward doesn't depend on
    the past, they are the only steady gradient that the span predictors get, and Adam divides its size away. One that
    adds up what exceeds the budget, a Lagrange multiplier, goes on charging for many rollouts after everything fits,
    and wears away what the reward needs.

    Args:
        live_memories: that a step saw in the last rollout, mean over steps, layers and environments.
        budget: live memories that cost nothing; 0 charges the ceiling always, the constant weight of the paper.
        ceiling: the greatest weight, `expire_loss_coef`.
    """
    if budget <= 0:
        return ceiling
    return ceiling * min(max((live_memories - budget) / budget, 0.0), 1.0)
