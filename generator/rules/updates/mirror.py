"""`exponentiated_gradient` and `p_norm`: descent in another geometry than Euclid's.

Mirror descent with a potential ψ moves ∇ψ(w) along the gradient: ∇ψ(w) ← ∇ψ(w) − η g. The geometry shows in the weights'
distribution (Pogodin et al. 2024, 2305.19394; Cornford et al. 2024, bioRxiv 2024.10.25.620272).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.rules.contract import Update, per_network, tuned


class ExponentiatedGradient(Update):
    """Exponentiated gradient: w ← w ⊙ exp(−η sign(w) ⊙ g). Weights keep their signs (Dale's law).

    Biases start at 0, where nothing would move them. Each is the sum of a positive and a negative part (Kivinen & Warmuth 1997,
    EG±), which start as ± `part` and change by factors: b ← 2 p sinh(asinh(b / 2p) − η g). So are the gains of norms. [ours: the
    reference code draws the parts]
    """

    family, source = "mirror", "Cornford et al. 2024, bioRxiv 2024.10.25.620272"
    defaults: ClassVar[dict[str, float]] = {"part": 0.1}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"part": (1e-6, 1e3)}
    base_rate = tuned()["exponentiated_gradient"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor], part: float) -> None:
        self.both = 2 * part

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g in zip(tensors, gradients, strict=True):
            moved = g * per_network(rate, g)
            if w.ndim == 2:
                w.div_(self.both).asinh_().sub_(moved).sinh_().mul_(self.both)
            else:
                w.mul_(torch.exp(-w.sign() * moved))


class PNorm(Update):
    """Mirror descent in a p-norm: z = sign(w) |w|^(p−1),  z ← z − η g,  w ← sign(z) |z|^(1/(p−1)).

    The potential is Σ |w|ᵖ / p. p = 2 is gradient descent; above it large weights move little.
    """

    family, source = "mirror", "Pogodin et al. 2024, 2305.19394"
    defaults: ClassVar[dict[str, float]] = {"p": 3.0}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"p": (1.1, 11)}
    base_rate = tuned()["p_norm"]["base_rate"]

    def __init__(self, tensors: Sequence[Tensor], p: float) -> None:
        self.power = p - 1

    def step(self, tensors: Sequence[Tensor], gradients: Sequence[Tensor], rate: Tensor) -> None:
        """One step, in place."""
        for w, g in zip(tensors, gradients, strict=True):
            z = (w.sign() * w.abs().pow(self.power)).addcmul_(g, per_network(rate, g), value=-1)
            torch.mul(z.sign(), z.abs().pow(1 / self.power), out=w)
