"""The price of memory: charged only while more is alive than the budget allows."""

from dataclasses import dataclass


@dataclass
class MemoryBudget:
    """The coefficient of the span loss as a Lagrange multiplier of the constraint `live memories <= budget`.

    With a constant coefficient spans collapse before the memory becomes useful: as long as the reward doesn't
    depend on the past, the span loss is the only steady gradient that the span predictors get, and Adam divides its
    size away. Here nothing is charged until live memories exceed the budget; then the coefficient rises, a tenth of
    its ceiling for each rollout that is over by the whole budget, and falls again as soon as they don't.

    Args:
        budget: live memories a step and layer that cost nothing; 0 charges always, as the paper does.
        ceiling: the greatest coefficient (`expire_loss_coef`): where the reward needs more memory than the budget,
            the spans settle at what this price leaves worth keeping.
        coefficient: the coefficient now.
    """

    budget: float
    ceiling: float
    coefficient: float = 0.0

    def update(self, live_memories: float) -> None:
        """Moves the coefficient after a rollout with so many live memories a step and layer."""
        if self.budget <= 0:
            self.coefficient = self.ceiling
            return
        excess = (live_memories - self.budget) / self.budget
        self.coefficient = min(max(self.coefficient + 0.1 * self.ceiling * excess, 0.0), self.ceiling)
