"""`muon`: momentum, orthogonalised (Jordan et al. 2024; Liu et al. 2025, 2502.16982, algorithm 1 and eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from generator.rules.contract import per_network, tuned
from generator.rules.updates.adam import AdamW

QUINTIC = (3.4445, -4.7750, 2.0315)  # a, b, c of X ← a X + (b A + c A²) X with A = X Xᵀ
MATCH = 0.2  # root mean square of a typical step of Adam, which makes its rates fit


def orthogonalised(g: Float[Tensor, "k m n"], steps: int) -> Float[Tensor, "k m n"]:
    """Nearly U Vᵀ of g = U S Vᵀ: singular values between 0.7 and 1.2, after so many Newton–Schulz steps."""
    x = g / (g.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    a, b, c = QUINTIC
    for _ in range(steps):
        squared = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(squared, squared, squared, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(AdamW):
    """Muon: M ← μ M + g,  W ← W − 0.2 √max(m, n) η O(g + μ M), with O the orthogonal factor of an m × n matrix.

    A convolution's weights are flattened to outputs × (inputs × taps). Biases, and the gains of norms, follow AdamW at the same
    rate. Decay is decoupled. The read-out is a matrix like any other [ours]; the paper trains it by AdamW.
    """

    family, source, local = "spectral", "Jordan et al. 2024; Liu et al. 2025, 2502.16982", False
    proportional = False
    base_rate = tuned()["muon"]["base_rate"]
    flops = "1 + 5 (4 s² l + 2 s³) / (6 s l b p)"  # X Xᵀ, A A and the product with X, in each Newton–Schulz step
    defaults: ClassVar[dict[str, float]] = {"momentum": 0.95, "newton_schulz": 5.0, **AdamW.defaults}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"momentum": (0, 1), "newton_schulz": (1, 20), **AdamW.bounds}

    def __init__(self, tensors: Sequence[Tensor], momentum: float, newton_schulz: float, **adam: float) -> None:
        self.momentum, self.count = momentum, int(newton_schulz)
        super().__init__([tensor for tensor in tensors if tensor.ndim == 2], **adam)
        self.velocities = [torch.zeros_like(tensor) for tensor in tensors if tensor.ndim > 2]

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        pairs = list(zip(tensors, gradients, strict=True))
        vectors = [pair for pair in pairs if pair[0].ndim == 2]
        super().step([w for w, _ in vectors], [g for _, g in vectors], rate)
        matrices = (pair for pair in pairs if pair[0].ndim > 2)
        for (w, g), v in zip(matrices, self.velocities, strict=True):
            torch.add(g, v, alpha=self.momentum, out=v)
            flat = torch.add(g, v, alpha=self.momentum).flatten(2)
            moved = orthogonalised(flat, self.count).reshape(w.shape)
            w.addcmul_(moved, per_network(rate, w), value=-MATCH * max(flat.shape[1:]) ** 0.5)
