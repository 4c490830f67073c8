"""What is said about a few seeds: the interquartile mean, and an interval for it."""

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000


def interquartile_mean(values: Float[np.ndarray, "... seeds"]) -> Float[np.ndarray, "..."]:
    """The mean over the last axis without the lowest and the highest quarter, rounded down to whole values: of five,
    the mean of the middle three.

    Source: Agarwal et al. 2021, arXiv 2108.13264.
    """
    cut = values.shape[-1] // 4
    means: np.ndarray = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return means


def bootstrap_interval(
    values: Float[np.ndarray, "seeds ..."], resamples: int = RESAMPLES
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]] | None:
    """The 95 % interval of the interquartile mean: quantiles of what resampled seeds give (percentile bootstrap).

    Args:
        values: a row for each seed, of one number or one for each point of a curve.
        resamples: how often as many seeds are drawn from them, with replacement. Default 10,000.

    Returns:
        Lower and upper end; None of a single seed, which says nothing about others.
    """
    count = len(values)
    if count < 2:
        return None
    # The same interval every time, and curves of all points are of the same resampled seeds.
    drawn = np.random.default_rng(0).integers(count, size=(resamples, count))
    means = interquartile_mean(np.moveaxis(values[drawn], 1, -1))
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high
