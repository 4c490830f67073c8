"""Which state a query sees: causality, episodes, capacity.

Time is counted on the segment's own clock: its steps are 0 .. t - 1, a state remembered with age a has the time
-1 - a, an empty slot -inf. A state's death time d = time + span never changes while time passes. So of the states
that compete for the slots the one of earliest death is pushed out, once and for good, and nothing depends on
where a stream is cut into segments.

Letters: b batch, t steps of the segment, s slots, n = s + t states.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Timeline(NamedTuple):
    """The states that a segment's queries may see: first what was remembered, then the segment's own."""

    times: Float[Tensor, "b n"]
    episodes: Float[Tensor, "b n"]
    """Number of episode starts in the segment up to the state; 0 for what was remembered."""
    steps: int
    """t: the last so many states are also the queries."""

    @staticmethod
    def of_segment(
        elapsed_times: Float[Tensor, "b s"], episode_starts: Bool[Tensor, "b t"] | None, steps: int
    ) -> "Timeline":
        """The timeline of a segment of `steps` that follows a memory with these ages."""
        own = torch.arange(steps, device=elapsed_times.device, dtype=elapsed_times.dtype)
        own = own.expand(len(elapsed_times), steps)
        remembered, begun = torch.zeros_like(elapsed_times), torch.zeros_like(own)
        if episode_starts is not None:
            begun = episode_starts.cumsum(-1, dtype=begun.dtype)
        episodes = torch.cat((remembered, begun), dim=-1)
        return Timeline(torch.cat((-1 - elapsed_times, own), dim=-1), episodes, steps)

    @property
    def ages(self) -> Float[Tensor, "b t n"]:
        """Age of each state for each query: infinite for an empty slot, negative for a later step."""
        return self.times[:, -self.steps :, None] - self.times[:, None]

    def visible(
        self, evicted_at: Float[Tensor, "b n"], oldest: Float[Tensor, "b 1"] | None = None
    ) -> Float[Tensor, "b t n"]:
        """1 where a query sees a state, else 0: itself and, up to the age `oldest`, earlier ones of its
        episode not yet evicted."""
        now = self.times[:, -self.steps :]
        # Episodes follow each other, so that a state's ends after the steps that lie in it or in earlier ones.
        episode_end = (self.episodes[:, -self.steps :, None] <= self.episodes[:, None]).to(now.dtype).sum(1)
        until = torch.minimum(evicted_at, episode_end)
        if oldest is not None:
            until = torch.minimum(until, self.times + oldest.floor() + 1)
        until = torch.where(self.times.isfinite(), torch.maximum(until, self.times + 1), -torch.inf)
        # Whole numbers, positive from the state's own step on, and before `until`. Compiled, a mask of truth values is
        # kept for the gradient, and CPUs write these one by one; numbers are made anew.
        return torch.minimum(now[..., None] - self.times[:, None] + 1, until[:, None] - now[..., None]).clamp(0, 1)


class Competition(NamedTuple):
    """How the states of a timeline compete for the slots of a layer."""

    evicted_at: Float[Tensor, "b n"]
    """The step from which a state has lost its slot: before it lie `slots` states of later death."""
    rank: Int[Tensor, "b n"]
    """After the segment, the number of states of the same episode with a later death: each has its own."""


@torch.no_grad()
def compete(timeline: Timeline, spans: Float[Tensor, "b n"], slots: int) -> Competition:
    """Who keeps a slot: of the states of an episode, the `slots` with the latest death (ties: the newest).

    A state is visible to step t while fewer than `slots` states before t have a later death. That number only
    grows with t, so one time for each state says it all. Counting the states that were remembered is enough:
    one that was pushed out before had `slots` later ones, and so had whatever dies before it.
    """
    times, episodes, steps = timeline
    deaths, remembered = times + spans, times.shape[-1] - steps
    by_how = outlived_by_pairs if deaths.is_cuda or torch.compiler.is_compiling() else outlived_by_sorting
    outlived = by_how(deaths, times, episodes, remembered)
    own = _outlives(deaths, times, episodes, slice(remembered, None))
    # before[t, j] = 1 for the segment's steps j before t; its last row, t = steps, is the segment's end.
    before = torch.ones(steps + 1, steps, dtype=deaths.dtype, device=deaths.device).tril(-1)
    with torch.autocast(spans.device.type, enabled=False):  # bfloat16 can't count beyond 256
        count = before @ own + outlived[:, None]
    evicted_at = (count < slots).to(spans.dtype).sum(1)
    return Competition(evicted_at, count[:, -1].long())


def _outlives(
    deaths: Float[Tensor, "b n"], times: Float[Tensor, "b n"], episodes: Float[Tensor, "b n"], j: slice
) -> Float[Tensor, "b j n"]:
    """1 where state j of the same episode dies after state i (or then, being newer)."""
    d_j, t_j = deaths[:, j, None], times[:, j, None]
    d_i, t_i = deaths[:, None], times[:, None]
    dies_later = (d_j > d_i) | ((d_j == d_i) & (t_j > t_i))
    return (dies_later & (episodes[:, j, None] == episodes[:, None])).to(deaths.dtype)


def outlived_by_pairs(
    deaths: Float[Tensor, "b n"], times: Float[Tensor, "b n"], episodes: Float[Tensor, "b n"], remembered: int
) -> Float[Tensor, "b n"]:
    """How many of the remembered states outlive each state: compiled, one pass that holds no n by n numbers."""
    return _outlives(deaths, times, episodes, slice(0, remembered)).sum(1)


def outlived_by_sorting(
    deaths: Float[Tensor, "b n"], times: Float[Tensor, "b n"], episodes: Float[Tensor, "b n"], remembered: int
) -> Float[Tensor, "b n"]:
    """The same for a CPU where nothing compiles it; but empty slots, which nobody asks for, have a number each."""
    old, own = deaths.split((remembered, deaths.shape[-1] - remembered), -1)
    oldest_first = times[:, :remembered].argsort(dim=-1)
    first_to_die = oldest_first.gather(-1, old.gather(-1, oldest_first).argsort(dim=-1, stable=True))
    after = torch.arange(remembered - 1, -1, -1, device=deaths.device).expand_as(first_to_die)
    of_old = torch.empty_like(first_to_die).scatter(-1, first_to_die, after)
    # A state of the segment is newer than what is remembered: of one death it goes last.
    later = remembered - torch.searchsorted(old.gather(-1, first_to_die), own.contiguous(), right=True)
    of_own = later.masked_fill(episodes[:, remembered:] > 0, 0)
    return torch.cat((of_old, of_own), dim=-1).to(deaths.dtype)


def keepers(
    timeline: Timeline, rank: Int[Tensor, "b n"], slots: int
) -> tuple[Int[Tensor, "b s"], Float[Tensor, "b s"]]:
    """The states that a memory of `slots` keeps after the segment, and their ages: index `(b, s)`, ages `(b, s)`.

    A state's rank is the slot it goes to. Slots for which nothing is left are empty (age inf, index 0).
    """
    times, episodes, steps = timeline
    kept = (rank < slots) & times.isfinite() & (episodes == episodes[:, -1:])
    # Whatever isn't kept goes to one slot too many, which is cut off again.
    target = torch.where(kept, rank, slots)
    states = torch.arange(times.shape[-1], device=times.device).expand_as(target)
    index = torch.zeros_like(target[:, :1]).expand(-1, slots + 1).scatter(1, target, states)[:, :slots]
    filled = torch.zeros_like(target[:, :1]).bool().expand(-1, slots + 1).scatter(1, target, kept)[:, :slots]
    return index, (steps - 1 - times).gather(1, index).masked_fill(~filled, torch.inf)


def weakest_slot(
    spans: Float[Tensor, "b s"], ages: Float[Tensor, "b s"]
) -> tuple[Int[Tensor, " b"], Float[Tensor, " b"]]:
    """The slot of earliest death (an empty one if there is any; ties: the oldest), and its remaining span."""
    remaining = spans - ages
    earliest = remaining.amin(-1, keepdim=True)
    slot = torch.where(remaining == earliest, ages, -1).argmax(-1)
    return slot, earliest.squeeze(-1)
