"""`rmsprop`: gradients over their running root mean square (Tieleman & Hinton 2012, lecture 6e)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.rules.contract import Update, per_network, tuned


class RMSprop(Update):
    """RMSprop: v ← ρ v + (1−ρ) g²,  w ← w − η g / (√v + ε)."""

    family, source, proportional = "adaptive", "Tieleman & Hinton 2012", False
    defaults: ClassVar[dict[str, float]] = {"rho": 0.9, "epsilon": 1e-8}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"rho": (0, 1)}
    base_rate = tuned()["rmsprop"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor], rho: float, epsilon: float) -> None:
        self.rho, self.epsilon = rho, epsilon
        self.squares = [torch.zeros_like(tensor) for tensor in tensors]

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g, v in zip(tensors, gradients, self.squares, strict=True):
            v.mul_(self.rho).addcmul_(g, g, value=1 - self.rho)
            w.addcdiv_(g * per_network(rate, g), v.sqrt().add_(self.epsilon), value=-1)
