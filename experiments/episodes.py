"""What is said about a number of episodes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

LENGTH_BOUNDS = (10, 25, 50, 100, 200)
"""Where the corridors' lengths are split: up to 10, 11 to 25, and so on."""


@dataclass(frozen=True)
class Episode:
    """One finished episode."""

    seed: int
    reward: float
    """Undiscounted sum of its rewards: its return."""
    steps: int
    live_memories: float | None
    """Live memories a step, mean over layers and steps; None of a core without slots."""
    success: bool | None
    """What the environment's `info["is_success"]` said; None where it says nothing."""
    corridor_length: int | None = None
    """What the environment's `info["corridor_length"]` said; None where it says nothing."""
    turns: int | None = None
    """What the environment's `info["turns"]` said: decisions taken; None where it doesn't count the right ones."""
    correct_turns: int | None = None
    """Right ones among them, by its `info["correct_turns"]`."""
    cut_off: bool = False
    """Whether it hadn't ended by itself."""


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % confidence interval of a rate: Wilson's score interval, which stays within 0 and 1.

    Args:
        successes: 0 to `trials`.
        trials: at least 1.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
    """
    rate, z2 = successes / trials, Z_95**2
    center = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials) * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    return max(0.0, center - half), min(1.0, center + half)


def success_summary(episodes: Sequence[Episode]) -> dict[str, Any]:
    """`success_rate` and `success_interval`; both None unless every episode said whether it succeeded.

    One that was cut off before it could say so hasn't, where others do.
    """
    said = any(episode.success is not None for episode in episodes)
    outcomes = [
        False if said and episode.cut_off and episode.success is None else episode.success for episode in episodes
    ]
    if not outcomes or None in outcomes:
        return {"success_rate": None, "success_interval": None}
    successes = sum(map(bool, outcomes))
    return {
        "success_rate": successes / len(outcomes),
        "success_interval": list(wilson_interval(successes, len(outcomes))),
    }


def correct_turn_rate(episodes: Sequence[Episode], fewest: int = 0) -> float | None:
    """Right turns among all turns of the episodes; None where there are none.

    Args:
        episodes: those in which turns aren't counted are left out.
        fewest: turns that an episode is to have; those missing count as wrong, so that standing still isn't right.
    """
    taken = sum(max(episode.turns, fewest) for episode in episodes if episode.turns is not None)
    return sum(episode.correct_turns or 0 for episode in episodes) / taken if taken else None


def turns_taken(episodes: Sequence[Episode]) -> int | None:
    """Turns of all episodes, right or wrong; None where they aren't counted."""
    counts = [episode.turns for episode in episodes if episode.turns is not None]
    return sum(counts) if counts else None


def success_by_length(episodes: Iterable[Episode]) -> dict[str, Any] | None:
    """The success summary for each range of `info["corridor_length"]` that was met; None where there are no lengths.

    An episode whose turns are counted has many corridors: its length is that of the one in which time was up.
    """
    groups: dict[str, list[Episode]] = {}
    for episode in sorted(episodes, key=lambda episode: episode.corridor_length or 0):
        if episode.corridor_length is not None and episode.correct_turns is None:
            groups.setdefault(_length_range(episode.corridor_length), []).append(episode)
    return {name: {"episodes": len(group), **success_summary(group)} for name, group in groups.items()} or None


def _length_range(length: int) -> str:
    low = 1
    for bound in LENGTH_BOUNDS:
        if length <= bound:
            return f"{low}-{bound}"
        low = bound + 1
    return f"{low}-"


def mean(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return sum(values) / len(values)
