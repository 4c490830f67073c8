"""Which core a policy has: by name, or made by the user's own function."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from agents.argument_checks import ARGUMENTS
from agents.cores.protocol import MemoryCore
from agents.cores.recurrent import GRUCore, LSTMCore
from agents.cores.sizes import check_size
from expire_span import NO_FLEX_GRADIENT, ExpireSpanCore

SIZES = {"dim": 128, "depth": 2}
"""Given to a core that asks for them and has no default of its own."""
_SHORTENING = "random_shortening"
"""An argument of `ExpireSpanCore` that no policy can have on."""


def transformer_xl(
    dim: int = SIZES["dim"],
    depth: int = SIZES["depth"],
    heads: int = 4,
    slots: int = 64,
    seq_len: int = 64,
    backend: Any = "plain",
    log_position: bool = False,
    count_matches: bool = False,
) -> ExpireSpanCore:
    """A Transformer-XL, Dai et al. 2019, arXiv 1901.02860: the same core, in which the newest `slots` states are seen.

    Raises:
        ValueError: for sizes that don't fit.
    """
    # A state's span is over when its slot is needed.
    return ExpireSpanCore(
        *(dim, depth, heads, slots, max(slots, 1)),
        ramp_length=1,
        seq_len=seq_len,
        spans="fixed",
        backend=backend,
        log_position=log_position,
        count_matches=count_matches,
    )


CORES: Mapping[str, Callable[..., MemoryCore]] = {
    "expire-span": ExpireSpanCore,
    "transformer-xl": transformer_xl,
    "lstm": LSTMCore,
    "gru": GRUCore,
}


def core_maker(core: str | Callable[..., MemoryCore], given: Mapping[str, Any]) -> "partial[MemoryCore]":
    """What makes the core, with all of its keyword arguments: those given, and the defaults of the others.

    Args:
        core: a name of `CORES`, or a class or function that makes a `MemoryCore`.
        given: keyword arguments for it.

    Raises:
        ValueError: for another name, an instance, an argument that the core doesn't have, or a size that nothing has.
    """
    if isinstance(core, str) and core not in CORES:
        raise ValueError(f"core={core!r} must be one of {', '.join(CORES)}, or a class or function that makes a core")
    factory = CORES[core] if isinstance(core, str) else core
    if isinstance(factory, nn.Module) or not callable(factory):
        raise ValueError(f"core={factory!r} must be a class or function that makes a core, not a core itself")
    name = core if isinstance(core, str) else getattr(core, "__name__", repr(core))
    defaults, takes_any = _arguments(factory)
    unknown = sorted(given.keys() - defaults.keys())
    if unknown and not takes_any:
        near = difflib.get_close_matches(unknown[0], defaults, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}? The" if near else "the"
        if unknown[0] in {*ARGUMENTS, "segment_length", "precision"}:
            hint = f"{unknown[0]} is an argument of the agent itself, outside of policy_kwargs; the"
        raise ValueError(
            f"neither the policy nor its core {name} has an argument {', '.join(unknown)}; "
            f"{hint} core has {', '.join(name for name in defaults if name != _SHORTENING) or 'none'}"
        )
    arguments = {name: default for name, default in defaults.items() if default is not inspect.Parameter.empty}
    # Off in any policy, see `checked`: so its file needn't say it, which is as before then.
    arguments.pop(_SHORTENING, None)
    for name in ("dim", "depth", "heads", "slots", "seq_len"):
        # Also of a core of one's own: its file would be refused.
        check_size(name, given.get(name, 0))
    return partial(factory, **{**arguments, **given})


def _arguments(factory: Callable[..., Any]) -> tuple[dict[str, Any], bool]:
    """Names and defaults of the keyword arguments that a function has, and whether it takes any other, too."""
    parameters = inspect.signature(factory).parameters.values()
    named = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    defaults = {
        name: SIZES.get(name, default) if default is inspect.Parameter.empty else default
        for name, default in named.items()
    }
    return defaults, any(p.kind is p.VAR_KEYWORD for p in parameters)


def checked(core: Any) -> MemoryCore:
    """The core itself, once it is known to be one.

    Raises:
        ValueError: if something is missing, its memory isn't in the form that the rollout needs, or it is an
            `ExpireSpanCore` that can't be trained as it acts.
    """
    if isinstance(core, ExpireSpanCore):
        if core.random_shortening:
            raise ValueError("random_shortening=True: the policy that is trained would differ from the one that acts")
        if core.backend == "flex":
            raise ValueError(NO_FLEX_GRADIENT)
    name = type(core).__name__
    needed = ("dim", "empty_memory", "cache", "step", "forward")
    missing = [member for member in needed if not hasattr(core, member)]
    if not isinstance(core, nn.Module) or missing:
        lacking = f"has no {', '.join(missing)}" if missing else "isn't an nn.Module"
        raise ValueError(f"{name} can't be a policy's core: it {lacking}; it needs to be a MemoryCore")
    streams = 3
    memory = core.empty_memory(streams)  # type: ignore[operator]  # checked above
    in_order = hasattr(memory, "_fields") and all(
        isinstance(part, Tensor) and part.dim() >= 2 and part.shape[1] == streams for part in memory
    )
    if not in_order:
        parts = memory if isinstance(memory, tuple) else (memory,)
        given = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
        raise ValueError(
            f"{name}.empty_memory({streams}) must give a NamedTuple of tensors (layers, environments, ...), and gives "
            f"a {type(memory).__name__} of {given}"
        )
    return core  # type: ignore[return-value]  # all members have been looked at
