"""`sign_sgd` and `lion`: every weight moves by the same amount (Bernstein et al. 2018, 1802.04434; Chen et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.rules.contract import Update, per_network, tuned


class SignSGD(Update):
    """Sign descent: w ← w − η sign(g) (1802.04434, algorithm 1)."""

    family, source, proportional = "sign", "Bernstein et al. 2018, 1802.04434", False
    base_rate = tuned()["sign_sgd"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        pass

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g in zip(tensors, gradients, strict=True):
            w.addcmul_(g.sign(), per_network(rate, g), value=-1)


class Lion(Update):
    """Lion: w ← w − η sign(β₁ m + (1−β₁) g),  then m ← β₂ m + (1−β₂) g (2302.06675, algorithm 2).

    Decay is decoupled.
    """

    family, source, proportional = "sign", "Chen et al. 2023, 2302.06675", False
    decoupled = True
    defaults: ClassVar[dict[str, float]] = {"beta1": 0.9, "beta2": 0.99}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"beta1": (0, 1), "beta2": (0, 1)}
    base_rate = tuned()["lion"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor], beta1: float, beta2: float) -> None:
        self.beta1, self.beta2 = beta1, beta2
        self.averages = [torch.zeros_like(tensor) for tensor in tensors]

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g, m in zip(tensors, gradients, self.averages, strict=True):
            w.addcmul_(torch.lerp(m, g, 1 - self.beta1).sign_(), per_network(rate, g), value=-1)
            m.lerp_(g, 1 - self.beta2)
