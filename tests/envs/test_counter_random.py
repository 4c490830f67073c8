"""The counter-based random numbers."""

import numpy as np
import torch

from envs.batched.counter_random import NEXT_EPISODE, draw_offsets, mix, stream_keys, uniforms

CPU = torch.device("cpu")


def _reference(z: int) -> int:
    """The same hash in Python's integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_mix_is_splitmix64() -> None:
    """Catches: a shift that copies the sign, a product that doesn't wrap. First output of the seed 0 is published."""
    numbers = [0, 1, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15, *range(3, 2**64, 2**58 + 12345)]
    signed = torch.tensor([number - 2**64 if number >= 2**63 else number for number in numbers])
    assert [value % 2**64 for value in mix(signed).tolist()] == [_reference(number) for number in numbers]
    assert _reference(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


def test_keys_differ() -> None:
    """Catches: environments that play the same levels, a seed that shifts them by one environment."""
    episodes = NEXT_EPISODE * torch.arange(10)[:, None]
    keys = torch.stack([stream_keys(seed, 1000, CPU) + episodes for seed in range(10)])
    assert len(keys.unique()) == keys.numel()


def test_uniforms_are_uniform_and_independent() -> None:
    """Catches: numbers outside [0, 1), a mean or a correlation off. Fixed seed, 4.5 standard deviations."""
    n = 50_000
    keys = stream_keys(0, n, CPU)
    offsets = draw_offsets(2, CPU)
    numbers = torch.cat((uniforms(keys, offsets), uniforms(keys + NEXT_EPISODE, offsets))).numpy()
    assert numbers.dtype == np.float64
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.abs(numbers.mean(1) - 0.5).max() < 4.5 / (12 * n) ** 0.5
    correlations = np.corrcoef(np.concatenate((numbers, np.roll(numbers[:1], 1, axis=1))))
    assert np.abs(correlations - np.eye(5)).max() < 4.5 / n**0.5


def test_uniforms_stay_below_one() -> None:
    """Catches: the largest hash rounded up to 1, beyond the last choice."""
    # The key whose hash is 2^64 - 1, found by undoing `mix` step by step.
    key = 2**64 - 1
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        unfolded = key
        for _ in range(64 // shift):
            unfolded = key ^ unfolded >> shift
        key = unfolded * pow(factor, -1, 2**64) % 2**64
    keys = torch.tensor([key - 2**64 if key >= 2**63 else key])
    assert mix(keys).item() == -1
    assert uniforms(keys, torch.zeros(1, 1, dtype=torch.int64)).item() == 1 - 2**-53
