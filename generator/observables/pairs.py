"""Pairs of units of one network: how alike two units' rows of numbers are, and whether two tables say the same of all pairs."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from generator.keys import stream

MOST = 128  # units of a layer whose pairs are looked at: pairs cost by the square


def some(count: int) -> Int64[Tensor, " n"]:
    """Which of so many units are paired: all, or `MOST` that are drawn once for layers of that size, in ascending order."""
    return torch.arange(count) if count <= MOST else _drawn(count)


@lru_cache(maxsize=256)
def _drawn(count: int) -> Int64[Tensor, " n"]:
    found, _ = torch.from_numpy(stream("pairs of units", count).permutation(count)[:MOST]).sort()
    return found


def products(rows: Float[Tensor, "n m"]) -> Float[Tensor, "n n"]:
    """The Gram matrix of units' rows, 0 on its diagonal: every unit is like itself."""
    return (rows @ rows.mT).fill_diagonal_(0)


def cosine(a: Tensor, b: Tensor) -> Float[Tensor, ""]:
    """Of two matrices, as vectors; NaN where either is 0."""
    return (a * b).sum() / (a.norm() * b.norm())


def sizes(a: Float[Tensor, "n _"], b: Float[Tensor, "n _"]) -> Float[Tensor, ""]:
    """The correlation over units of log ‖a_i‖² and log ‖b_i‖², where neither is 0."""
    of_a, of_b = a.square().sum(1), b.square().sum(1)
    both = (of_a > 0) & (of_b > 0)
    x, y = of_a[both].log(), of_b[both].log()
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.norm() * y.norm())


class Kept:
    """What an observable remembers of one network, in its memory (`Reading.memory`)."""

    def __init__(self, memory: dict[str, Tensor], network: int) -> None:
        self.memory, self.network = memory, network

    def last(self, name: str, now: Tensor) -> Tensor | None:
        """What was there the last time, if there was one. Keeps what is there now."""
        key = f"{self.network}.{name}"
        before = self.memory.get(key)
        self.memory[key] = now
        return before

    def first(self, name: str, now: Tensor) -> Tensor:
        """What was there the first time, which may be now."""
        return self.memory.setdefault(f"{self.network}.first {name}", now)


def moved(
    d: Float[Tensor, "n _"], v: Float[Tensor, "n _"], kept: Kept
) -> tuple[Float[Tensor, "n n"], dict[str, Tensor]]:
    """What displacements d of units and the weights v that carry their outputs on have to do with each other.

    Returns:
        The Gram matrix of d, off its diagonal; and similarity: its cosine with that of v; size: see `sizes`; kept, held: its
        cosines with the one before and the first.
    """
    gram = products(d)
    before = kept.last("gram", gram)
    first = kept.first("gram", gram)
    nothing = d.new_full((), torch.nan)
    return gram, {
        "similarity": cosine(gram, products(v)),
        "size": sizes(d, v),
        "kept": nothing if before is None else cosine(gram, before),
        "held": nothing if before is None else cosine(gram, first),
    }
