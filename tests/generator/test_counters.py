"""Keyed numbers: SplitMix64 by plain integers, uniform, independent of stack and order."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from generator.counters import derive, derive_each, key, normal, uniform


def splitmix64(seed: int, count: int) -> list[int]:
    """The generator as its authors define it, in Python's integers."""
    state, found = seed % 2**64, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        found.append(z ^ (z >> 31))
    return found


def test_numbers_are_the_upper_bits_of_splitmix64() -> None:
    seeds = [0, 1, -1, 2**62 + 12345, key("x", 3)]
    found = uniform(torch.tensor(seeds), (4, 5))
    assert found.shape == (5, 4, 5)
    for row, seed in zip(found.flatten(1), seeds, strict=True):
        assert row.tolist() == [(z >> 40) / 2**24 for z in splitmix64(seed, 20)]


def test_numbers_are_uniform_and_keys_uncorrelated() -> None:
    a, b = uniform(torch.tensor([key("a"), key("b")]), (100_000,)).numpy()
    c = uniform(derive(torch.tensor([key("a")]), "c"), (100_000,)).numpy()[0]
    for numbers in (a, b, c):
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
        assert numbers.min() >= 0
        assert numbers.max() < 1
    assert np.abs(np.corrcoef([a, b, c, np.roll(a, 1)])[~np.eye(4, dtype=bool)]).max() < 0.02


def test_a_number_depends_on_its_key_and_place_alone() -> None:
    keys = torch.tensor([key("a"), key("b"), key("c")])
    together = uniform(derive(keys, "crop"), (7,))
    assert torch.equal(together[1], uniform(derive(keys[1:2], "crop"), (7,))[0])
    assert torch.equal(together[:, :3], uniform(derive(keys, "crop"), (3,)))
    assert not torch.equal(together, uniform(derive(keys, "flip"), (7,)))
    assert key("a", 1, 2) != key("a", 12)


def test_normal_numbers_are_normal_and_of_their_key_alone() -> None:
    keys = torch.tensor([key("a"), key("b")])
    a, b = normal(keys, (100_000,)).numpy()
    for numbers in (a, b):
        assert stats.kstest(numbers, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef([a, b, np.roll(a, 1)])[~np.eye(3, dtype=bool)]).max() < 0.02
    assert torch.equal(normal(keys[1:], (3, 4))[0], normal(keys, (3, 4))[1])
    assert not torch.equal(normal(keys, (3, 4)), normal(derive(keys, "x"), (3, 4)))


def test_many_purposes_at_once_are_each_by_itself() -> None:
    keys = torch.tensor([3, -(2**40), 17])
    found = derive_each(keys, ["a", "b"])
    assert torch.equal(found, torch.stack([derive(keys, "a"), derive(keys, "b")]))
    assert len(set(found.flatten().tolist())) == 6
