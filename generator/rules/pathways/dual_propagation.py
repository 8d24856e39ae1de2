"""`dual_propagation`: every unit has two states, whose mean is its activity and whose difference is its error (2302.01228).

z±_l = φ(W_l z̄_{l−1} + b_l ± ½ W_{l+1}ᵀ d_{l+1}),   z̄ = ½ (z⁺ + z⁻),   d = z⁺ − z⁻,   d_L = β (y* − p)
g_l = −⟨d_l z̄_{l−1}ᵀ⟩ / β
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Network
from generator.curricula.contract import Batch
from generator.rules.contract import Products
from generator.rules.pathways.chain import Chain, down, error
from generator.rules.pathways.products import gradients

SWEEPS = 2


class DualPropagation(Chain):
    """Dual propagation: units of two states, one nudged towards the label and one away from it, in sweeps from the top down.

    As β goes to 0 it is backpropagation.
    """

    family, source, local = "settling", "Høier, Staudt & Zach 2023, 2302.01228", True
    flops = Products(forward=1 + SWEEPS, back=SWEEPS)
    defaults: ClassVar[dict[str, float]] = {"beta": 1.0, "sweeps": float(SWEEPS)}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"beta": (1e-4, 100), "sweeps": (1, 101)}

    def __init__(self, network: Network, draw: Draw, beta: float, sweeps: float) -> None:
        super().__init__(network, draw)
        self.beta, self.sweeps = beta, int(sweeps)

    def teach(self, run: Pass, outputs: Tensor, batch: Batch) -> Sequence[Tensor]:
        """Sweeps from the top down, each with the means of the one before."""
        layers = self.network.layers
        means = [run.received[0], *run.outputs[:-1]]
        for _ in range(self.sweeps):
            apart = [error(layers[-1].preactivation(means[-1]), batch).mul_(-self.beta)]
            for place in reversed(range(len(self.hidden))):
                layer, half = layers[place], down(layers[place + 1], apart[0]).mul_(0.5)
                a = layer.preactivation(means[place])
                plus, minus = layer.phi.phi(a + half), layer.phi.phi(a - half)
                means[place + 1] = (plus + minus).mul_(0.5)
                apart.insert(0, plus.sub_(minus))
        return gradients(layers, means, [d.mul_(-1 / (self.beta * d.shape[1])) for d in apart])
