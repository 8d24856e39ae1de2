"""`adam` and `adamw`: adaptive moment estimation (Kingma & Ba 2015, 1412.6980; Loshchilov & Hutter 2019, 1711.05101)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.rules.contract import Update, per_network, tuned


class Adam(Update):
    """Adam: w ← w − η m̂ / (√v̂ + ε).

    m ← β₁ m + (1−β₁) g,  v ← β₂ v + (1−β₂) g², with hats dividing by 1 − βᵗ (algorithm 1).
    """

    family, source, proportional = "adaptive", "Kingma & Ba 2015, 1412.6980", False
    defaults: ClassVar[dict[str, float]] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"beta1": (0, 1), "beta2": (0, 1)}
    base_rate = tuned()["adam"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor], beta1: float, beta2: float, epsilon: float) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.first = [torch.zeros_like(tensor) for tensor in tensors]
        self.second = [torch.zeros_like(tensor) for tensor in tensors]
        self.steps = torch.zeros((), dtype=torch.int64)

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        count = int(self.steps.add_(1))
        scale = (1 - self.beta2**count) ** 0.5
        rate = rate * (scale / (1 - self.beta1**count))  # m̂ / (√v̂ + ε) = scale / (1 − β₁ᵗ) · m / (√v + ε scale)
        for w, g, m, v in zip(tensors, gradients, self.first, self.second, strict=True):
            m.lerp_(g, 1 - self.beta1)
            v.mul_(self.beta2).addcmul_(g, g, value=1 - self.beta2)
            w.addcdiv_(m * per_network(rate, m), v.sqrt().add_(self.epsilon * scale), value=-1)


class AdamW(Adam):
    """Adam with decoupled decay: w ← (1 − η λ) w, then Adam's step without any decay (algorithm 2).

    Without decay, λ = 0, it is Adam.
    """

    source, decoupled = "Loshchilov & Hutter 2019, 1711.05101", True
