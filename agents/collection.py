"""What rollouts have in common, wherever their environments step: what `ExpireSpanPPO` asks of one."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from agents.cores import Memory


class Timings(NamedTuple):
    """Seconds since `learn` began, by what was waited for."""

    acting: float = 0.0
    env: float = 0.0
    """Waiting for environments; those that are tensors step within `acting`."""
    update: float = 0.0

    def since(self, before: "Timings") -> "Timings":
        """The seconds from `before` to here."""
        return Timings(self.acting - before.acting, self.env - before.env, self.update - before.update)


class Episodes(NamedTuple):
    """Episodes that ended, in order."""

    returns: Float[np.ndarray, " episodes"]
    lengths: Int[np.ndarray, " episodes"]
    successes: Bool[np.ndarray, " episodes"]


def window_reaches(successes: deque[Any], rate: float) -> bool:
    """Whether the newest episodes succeed at this rate, of which there must be as many as the window holds: where
    success ends an episode, those that end first are the successes."""
    return len(successes) == successes.maxlen and sum(map(bool, successes)) / len(successes) >= rate


class RolloutStep(NamedTuple):
    """One step of all environments, by the names that SB3's callbacks know.

    Tensors lie on the policy's device, in the rollout's buffer: the next rollout overwrites them. Where environments
    are tensors, `new_obs`, `clipped_actions` and `infos` stay empty.
    """

    new_obs: Any
    rewards: Float[np.ndarray, " n_envs"]
    dones: Bool[np.ndarray, " n_envs"]
    infos: Sequence[dict[str, Any]]
    actions: Tensor
    values: Float[Tensor, " n_envs"]
    log_probs: Float[Tensor, " n_envs"]
    clipped_actions: Any = None
    """The actions as the environments got them."""
    episodes: Episodes | None = None
    """Those that ended in this step, where `infos` don't tell of them; of a rollout its newest alone."""


class Position(NamedTuple):
    """Where environments are: what the next rollout goes on from."""

    obs: Any
    starts: Bool[np.ndarray, " n_envs"]
    memory: Memory | None
    """None where environments have gone on without it."""


class Outcome(NamedTuple):
    """What advantages are computed from, beside the buffer."""

    rewards: Float[Tensor, "n_steps n_envs"]
    """With the discounted value of a truncated episode's final observation in."""
    last_values: Float[Tensor, " n_envs"]
    last_dones: Bool[Tensor, " n_envs"]


@runtime_checkable
class Rollout(Protocol):
    """Fills the buffer, again and again, from the same environments."""

    env: Any
    """The environments."""
    waited: float
    """Seconds of the last rollout in which nothing was done but wait for environments."""

    def begin(self, position: Position) -> None:
        """Begins a rollout; `position.memory` is given."""
        ...

    def steps(self) -> Iterator[RolloutStep]:
        """A step at each call of `next`, `n_steps` times."""
        ...

    def stop(self) -> None:
        """Lets no step begin any more that needn't; one that environments are at is still waited for."""
        ...

    def position(self) -> Position:
        """Where the environments are now."""
        ...

    def outcome(self) -> Outcome:
        """The rewards of a rollout that went to its end."""
        ...
