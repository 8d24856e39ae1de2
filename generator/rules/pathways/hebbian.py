"""Unsupervised rules of single synapses, under a read-out. With u = W x, y = φ(W x + b) and q as below they are

    ΔW = ⟨q xᵀ⟩ − ⟨q ⊙ u′⟩ W

    hebb  q = y − ⟨y⟩, and instead of the second term what keeps each unit's ‖w‖ (Sejnowski 1977; Miller & MacKay 1994)
    oja   q = u′ = u (Oja 1982)
    bcm   q = y (y − θ) / θ, θ a running mean of y², without a second term (Bienenstock et al. 1982; Law & Cooper 1994)

⟨·⟩ is the mean over the batch and over positions. Biases do not learn [ours]. Rules by which cells compete are in competitive.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch
from generator.rules.contract import tuned
from generator.rules.pathways.primitives import samples
from generator.rules.pathways.read_out import UnderReadOut


class Hebbian(UnderReadOut):
    """What the rules below have in common."""

    family, source = "unsupervised", "Oja 1982"

    def taught(self) -> list[Tensor]:
        """Weights of hidden layers."""
        return [layer.weight for layer in self.hidden]

    def teach(self, run: Pass, views: Tensor, batch: Batch) -> Sequence[Tensor]:
        """−ΔW of every hidden layer."""
        with torch.no_grad():
            passed = zip(self.hidden, run.received, run.drives or run.outputs, strict=False)
            return [self.change(layer, x, y).neg_() for layer, x, y in passed]

    def change(self, layer: WeightLayer, x: Tensor, y: Tensor) -> Tensor:
        """ΔW. `y` is the layer's output or, where the rule asks for `drives`, its u."""
        q, pull = self.signals(layer, y)
        change = layer.correlate(x, q / samples(q))
        return change if pull is None else change.sub_(layer.weight * wide(mean(q * pull), change))

    @abstractmethod
    def signals(self, layer: WeightLayer, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """q, and u′ where there is one."""


def mean(y: Tensor) -> Tensor:
    """Of each unit or channel: (k, units)."""
    return y.transpose(1, 2).flatten(2).mean(2)


def wide(values: Tensor, like: Tensor) -> Tensor:
    """(k, units) numbers, shaped to multiply weights (k, units, …)."""
    return values.view(*values.shape, *(1,) * (like.ndim - 2))


class Hebb(Hebbian):
    """Hebb's rule of covariances: cells that vary together wire together.

    A small step keeps the length of a cell's weights.
    """

    source = "Sejnowski 1977; Miller & MacKay 1994"
    defaults: ClassVar[dict[str, float]] = tuned()["hebb"]

    def change(self, layer: WeightLayer, x: Tensor, y: Tensor) -> Tensor:
        """As above."""
        change, w = super().change(layer, x, y), layer.weight
        along = (change * w).flatten(2).sum(2) / w.square().flatten(2).sum(2)
        return change.sub_(w * wide(along, w))

    def signals(self, layer: WeightLayer, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """As above."""
        return y - mean(y).view(len(y), 1, -1, *(1,) * (y.ndim - 3)), None


class Oja(Hebbian):
    """Oja's rule: each cell turns to the first principal component of what it reads, at length 1.

    So all cells of a layer come to say the same, or its opposite.
    """

    drives = True
    defaults: ClassVar[dict[str, float]] = tuned()["oja"]

    def signals(self, layer: WeightLayer, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """As above."""
        return y, y


class BCM(Hebbian):
    """The rule of Bienenstock, Cooper and Munro: activity above a sliding threshold potentiates, activity below it depresses.

    The authors' activity is not negative. Where it is, it potentiates.
    """

    source = "Bienenstock, Cooper & Munro 1982; Law & Cooper 1994"
    defaults: ClassVar[dict[str, float]] = {"memory": 0.9} | tuned()["bcm"]
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"memory": (0, 1)}

    def __init__(self, network: Network, draw: Draw, memory: float, hidden_rate: float) -> None:
        super().__init__(network, draw, hidden_rate)
        self.memory = memory
        self.thresholds = {layer.name: torch.ones_like(layer.weight.flatten(2)[..., 0]) for layer in self.hidden}

    def signals(self, layer: WeightLayer, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """As above."""
        threshold = self.thresholds[layer.name].lerp_(mean(y * y), 1 - self.memory)
        there = threshold.view(len(y), 1, -1, *(1,) * (y.ndim - 3))
        return y * (y - there) / (there + 1e-6), None
