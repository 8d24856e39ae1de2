"""`momentum` and `nesterov`: stochastic gradient descent with a velocity (Polyak 1964; Sutskever et al. 2013, eq. 1-4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.rules.contract import Update, per_network, tuned


class Momentum(Update):
    """Heavy-ball momentum: v ← μ v + g,  w ← w − η v."""

    family, source = "euclidean", "Polyak 1964"
    defaults: ClassVar[dict[str, float]] = {"momentum": 0.9}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"momentum": (0, 1)}
    base_rate = tuned()["momentum"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor], momentum: float) -> None:
        self.momentum = momentum
        self.velocities = [torch.zeros_like(tensor) for tensor in tensors]

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g, v in zip(tensors, gradients, self.velocities, strict=True):
            torch.add(g, v, alpha=self.momentum, out=v)
            w.addcmul_(v, per_network(rate, v), value=-1)


class Nesterov(Momentum):
    """Nesterov's momentum: v ← μ v + g,  w ← w − η (g + μ v).

    It is the form in which the gradient is taken at w itself (Sutskever et al. 2013), as in most libraries.
    """

    source = "Sutskever et al. 2013"

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g, v in zip(tensors, gradients, self.velocities, strict=True):
            torch.add(g, v, alpha=self.momentum, out=v)
            w.addcmul_(torch.add(g, v, alpha=self.momentum), per_network(rate, v), value=-1)
