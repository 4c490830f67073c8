"""The price of memory: charged only while more is alive than the budget allows."""

from expire_span import ExpireSpanCore

STEP = 0.1
"""Share of its ceiling that the coefficient moves in a rollout whose memories exceed the budget by the whole budget."""


def default_budget(core: object) -> float:
    """Live memories that cost nothing unless it is said: those that the ramp keeps alive anyway, and half of the other
    slots.

    A budget of the ramp or less can't be met: the price would stay at its ceiling, and wear away the spans that the
    reward needs.
    """
    if not isinstance(core, ExpireSpanCore):
        return 0.0
    return (core.slots + min(core.ramp_length, core.slots)) / 2


def updated_coefficient(coefficient: float, live_memories: float, budget: float, ceiling: float) -> float:
    """The weight of the span loss after a rollout: a Lagrange multiplier of the constraint `live memories <= budget`.

    With a constant weight spans collapse before the memory becomes useful: as long as the reward doesn't depend on
    the past, the span loss is the only steady gradient that the span predictors get, and Adam divides its size
    away. Here nothing is charged until live memories exceed the budget; then the weight rises, and it falls again
    as soon as they don't (dual ascent). It has a ceiling: where the reward needs more memory than the budget, the
    spans settle at what is worth that price.

    Args:
        coefficient: the weight before.
        live_memories: that a step saw, mean over steps, layers and environments.
        budget: live memories that cost nothing; 0 charges the ceiling always, the constant weight of the paper.
        ceiling: the greatest weight, `expire_loss_coef`.
    """
    if budget <= 0:
        return ceiling
    excess = (live_memories - budget) / budget
    return min(max(coefficient + STEP * ceiling * excess, 0.0), ceiling)
