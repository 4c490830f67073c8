"""How likely each length of a corridor is."""

import numpy as np
from jaxtyping import Float


def length_probabilities(min_length: int, max_length: int, distribution: str) -> Float[np.ndarray, " lengths"]:
    """Probabilities of `min_length`, …, `max_length`, as the Python environments draw them.

    Args:
        min_length: Shortest.
        max_length: Longest.
        distribution: "uniform", or "log-uniform", where `floor(exp(U(ln min, ln(max + 1))))` is l with
            probability `ln((l + 1) / l) / ln((max + 1) / min)`.
    """
    lengths = np.arange(min_length, max_length + 1)
    weights = np.log1p(1 / lengths) if distribution == "log-uniform" else np.ones(len(lengths))
    shares: np.ndarray = weights / weights.sum()
    return shares
