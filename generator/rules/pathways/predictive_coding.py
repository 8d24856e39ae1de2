"""Predictive coding: values settle to where each layer predicts the next one best, and weights learn from what is left.

    E = Σ ½ ‖v_l − φ(W_l v_{l−1} + b_l)‖² + cross-entropy of W_L v_{L−1} + b_L,   v_0 = x
    v ← v − γ ∂E/∂v, from the forward pass on, in so many steps; then g = ∂E/∂W

`predictive_coding` has g at the end (Whittington & Bogacz 2017; Millidge et al. 2020, 2006.04182), and
`incremental_predictive_coding` at every step (Salvatori et al. 2022, 2212.00720), of which the mean is taken at the end of the
batch [ours].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Network
from generator.curricula.contract import Batch
from generator.rules.contract import Products
from generator.rules.pathways.chain import Chain, down, error, slope_times
from generator.rules.pathways.products import gradients, mean_over

STEPS = 20


class PredictiveCoding(Chain):
    """Predictive coding: units settle under the label, and weights reduce the prediction errors that remain."""

    family, source, local = "settling", "Whittington & Bogacz 2017; Millidge et al. 2020, 2006.04182", True
    flops = Products(forward=1 + STEPS, back=STEPS)
    defaults: ClassVar[dict[str, float]] = {"gamma": 0.1, "steps": float(STEPS)}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"gamma": (0, 1), "steps": (1, 1001)}

    def __init__(self, network: Network, draw: Draw, gamma: float, steps: float) -> None:
        super().__init__(network, draw)
        self.gamma, self.steps = gamma, int(steps)

    def teach(self, run: Pass, outputs: Tensor, batch: Batch) -> Sequence[Tensor]:
        """∂E/∂W where the values have settled to."""
        values = [run.received[0], *(y.clone() for y in run.outputs[:-1])]
        first = self.network.layers[0].preactivation(values[0])
        surprises, deltas = self.errors(values, first, batch)
        found = []
        for step in range(self.steps):
            for value, surprise, above, delta in zip(
                values[1:], surprises, self.network.layers[1:], deltas[1:], strict=True
            ):
                value.sub_(surprise.add_(down(above, delta)), alpha=self.gamma)
            surprises, deltas = self.errors(values, first, batch)
            if self.kept(step):
                found.append(gradients(self.network.layers, values, [delta / delta.shape[1] for delta in deltas]))
        return mean_over(found)

    def kept(self, step: int) -> bool:
        """Whether weights learn from where the values are after this step."""
        return step == self.steps - 1

    def errors(self, values: list[Tensor], first: Tensor, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """The prediction errors v − φ(a) of hidden layers, and ∂E/∂a of all. `first` is the first layer's a."""
        surprises, deltas = [], []
        for layer, value, below in zip(self.hidden, values[1:], [None, *values[1:]], strict=False):
            a = first if below is None else layer.preactivation(below)
            predicted = layer.phi.phi(a)
            surprises.append(value - predicted)
            deltas.append(slope_times(layer, surprises[-1], a, predicted).neg_())
        top = self.network.layers[-1].preactivation(values[-1]) if self.hidden else first
        return surprises, [*deltas, error(top, batch)]


class IncrementalPredictiveCoding(PredictiveCoding):
    """Incremental predictive coding: weights learn at every step of the values, not only when they have settled."""

    source = "Salvatori et al. 2022, 2212.00720"
    flops = Products(forward=1 + STEPS, back=STEPS, correlate=STEPS)

    def kept(self, step: int) -> bool:
        """At all."""
        return True
