"""Pairs of a network's units: how alike two units' rows of numbers are, and whether two tables say the same of all pairs.

Tables of networks with as many units lie side by side, and are reduced in one call.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from generator.keys import stream


@lru_cache(maxsize=256)
def some(count: int, most: int) -> Int64[Tensor, " n"]:
    """Which of so many units are paired: all, or `most` that are drawn once for layers of that size; in ascending order.

    What pairs cost grows by the square.
    """
    if count <= most:
        return torch.arange(count)
    found, _ = torch.from_numpy(stream("pairs of units", count).permutation(count)[:most]).sort()
    return found


def gram(rows: Float[Tensor, "k n m"]) -> Float[Tensor, "k n n"]:
    """The products of all units' rows with each other."""
    return rows @ rows.mT


def apart(gram: Float[Tensor, "k n n"]) -> Float[Tensor, "k n n"]:
    """The same with 0 on the diagonal: every unit is like itself."""
    found = gram.clone()
    found.diagonal(dim1=1, dim2=2).zero_()
    return found


def size(x: Float[Tensor, "k n m"]) -> Float[Tensor, " k"]:
    """Frobenius norms."""
    return x.flatten(1).norm(dim=1)


def cosine(a: Float[Tensor, "k n m"], b: Float[Tensor, "k n m"]) -> Float[Tensor, " k"]:
    """Of matrices, as vectors; NaN where either is 0."""
    return (a * b).flatten(1).sum(1) / (size(a) * size(b))


def lengths(a: Float[Tensor, "k n n"], b: Float[Tensor, "k n n"]) -> Float[Tensor, " k"]:
    """The correlation over units of log ‖a_i‖² and log ‖b_i‖², where neither is 0; of Gram matrices."""
    of_a, of_b = a.diagonal(dim1=1, dim2=2), b.diagonal(dim1=1, dim2=2)
    both = (of_a != 0) & (of_b != 0)
    count = both.sum(1, keepdim=True)

    def deviation(x: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
        x = torch.where(both, x.log(), 0.0)
        return torch.where(both, x - x.sum(1, keepdim=True) / count, 0.0)

    x, y = deviation(of_a), deviation(of_b)
    return (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))


def moved(
    d: Float[Tensor, "k n n"], v: Float[Tensor, "k n n"], last: Tensor | None, first: Tensor | None
) -> tuple[Float[Tensor, "k n n"], dict[str, Tensor]]:
    """What displacements of units and the weights that carry their outputs on have to do with each other.

    Args:
        d, v: the Gram matrices of both.
        last, first: what was returned for d the last and the first time.

    Returns:
        d less its diagonal; and (k,) each: similarity, its cosine with v's; size (`lengths`); kept and held, its cosines with the
        last and the first one, if there are any.
    """
    pairs = apart(d)
    found = {"similarity": cosine(pairs, apart(v)), "size": lengths(d, v)}
    if last is not None and first is not None:
        found |= {"kept": cosine(pairs, last), "held": cosine(pairs, first)}
    return pairs, found
