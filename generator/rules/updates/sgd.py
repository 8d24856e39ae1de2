"""`sgd`: stochastic gradient descent, without any memory (Robbins & Monro 1951)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from generator.rules.contract import Update, per_network, tuned


class SGD(Update):
    """Stochastic gradient descent: w ← w − η g."""

    family, source = "euclidean", "Robbins & Monro 1951"
    base_rate = tuned()["sgd"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        pass

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g in zip(tensors, gradients, strict=True):
            w.addcmul_(g, per_network(rate, g), value=-1)
