"""Random numbers as a function of a key: no generator's state, the same on every device and for any batch size.

A key is a 64-bit integer. An environment's key comes from the seed and its index (`stream_keys`); adding
`NEXT_EPISODE` once an episode and the draw's own offset gives the counters that are hashed. Integers wrap
around at 64 bits, in PyTorch as in the source.

Source: splitmix64, Steele et al. 2014, doi 10.1145/2660193.2660195, with the constants of its variant 13.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def _signed(number: int) -> int:
    """The 64 bits of `number` as PyTorch's int64 has them."""
    return (number + 2**63) % 2**64 - 2**63


# Odd, without a pattern, and different: sums of their multiples then don't meet in practice.
_NEXT_STREAM = _signed(0x9E3779B97F4A7C15)
NEXT_EPISODE = _signed(0xD1B54A32D192ED03)
"""Added to a key, gives that of the same environment's next episode."""
NEXT_PART = _signed(0x8CB92BA72F3D8DD7)
"""Added to a key, gives that of the episode's next part, where an episode draws more than once."""
_NEXT_DRAW = _signed(0xABC98388FB8FAC03)

_FIRST_FACTOR, _SECOND_FACTOR = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _fold(z: Int64[Tensor, "..."], shift: int) -> Int64[Tensor, "..."]:
    # >> copies the sign into the upper bits, which must be zeros.
    folded: Int64[Tensor, "..."] = z ^ ((z >> shift) & (2 ** (64 - shift) - 1))
    return folded


def mix(z: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Hashes 64 bits to 64 bits, one to one."""
    return _fold(_fold(_fold(z, 30) * _FIRST_FACTOR, 27) * _SECOND_FACTOR, 31)


def stream_keys(seed: int, n_envs: int, device: torch.device) -> Int64[Tensor, " n_envs"]:
    """A key for each environment, a function of the seed and the environment's index alone.

    Args:
        seed: Any integer; taken modulo 2^64.
        n_envs: Number of environments.
        device: Where the keys will be.
    """
    start = mix(torch.full((), _signed(seed), dtype=torch.int64, device=device))
    return mix(start + _NEXT_STREAM * torch.arange(n_envs, device=device))


def draw_offsets(n_draws: int, device: torch.device) -> Int64[Tensor, "n_draws 1"]:
    """What `uniforms` adds to the keys; made once, since making a tensor of numbers waits for the host."""
    return _NEXT_DRAW * torch.arange(1, n_draws + 1, device=device)[:, None]


def uniforms(keys: Int64[Tensor, " n_envs"], offsets: Int64[Tensor, "n_draws 1"]) -> Float[Tensor, "n_draws n_envs"]:
    """Independent float64 numbers in [0, 1), `n_draws` for each key; fixed shapes, nothing waits for the host."""
    return (mix(keys + offsets) & (2**53 - 1)).double() * 2.0**-53
