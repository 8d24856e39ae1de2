"""Learning by trying: weights or activations are disturbed at random, and what lowers the loss is kept.

    weight_perturbation   g = (L(θ + σ v) − L(θ)) / σ · v               (Jabri & Flower 1992; Züge et al. 2023)
    forward_gradient      g = (∇L · v) v                                (Baydin et al. 2022, 2202.08587)
    node_perturbation     g = ⟨(L̃ − L) / σ² · ξ xᵀ⟩, with a = W x + b + ξ  (Fiete & Seung 2006; Dalm et al. 2023, 2310.00965)

v and ξ / σ are standard normal. As σ goes to 0 each is the gradient on average over v or ξ. The first two draw v anew for every
batch and network; node perturbation compares the loss L̃ of every stimulus with that without noise, and so leaves out what a
stimulus does to others through batch norm. A σ small beside the precision of products finds nothing but rounding.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from generator import counters
from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway, Products, per_network, tuned
from generator.rules.pathways.backprop import Backpropagation
from generator.rules.pathways.products import gradients, synapses


def directions(batch: Batch, tensors: list[Tensor]) -> list[Tensor]:
    """v: standard normal numbers for every tensor."""
    assert batch.keys is not None
    keys = [counters.derive(batch.keys, f"direction {place}") for place in range(len(tensors))]
    return [counters.normal(key, t.shape[1:]).to(t.dtype) for key, t in zip(keys, tensors, strict=True)]


class WeightPerturbation(Pathway):
    """Weight perturbation: all weights are disturbed, and move along the disturbance as far as it changed the loss."""

    family, source, local = "perturbation", "Jabri & Flower 1992; Züge et al. 2023", True
    relative_rate = tuned()["weight_perturbation"]["rate"]
    flops = Products(forward=2, back=0, correlate=0)
    defaults: ClassVar[dict[str, float]] = {"sigma": 0.001}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"sigma": (1e-6, 1)}

    def __init__(self, network: Network, draw: Draw, sigma: float) -> None:
        super().__init__(network, draw)
        self.sigma = sigma

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Two forward passes."""
        views, weights = objective.views(batch), self.learned()
        with torch.no_grad():
            losses = objective.loss(self.network.forward(views, Pass(training=True, keys=batch.keys)), batch.y)
            tried, kept = directions(batch, weights), [w.clone() for w in weights]
            for w, v in zip(weights, tried, strict=True):
                w.add_(v, alpha=self.sigma)
            there = Pass(training=True, track=0.0, keys=batch.keys)
            change = (objective.loss(self.network.forward(views, there), batch.y) - losses) / self.sigma
            for w, before in zip(weights, kept, strict=True):
                w.copy_(before)
            return Lesson(losses, [v.mul_(per_network(change, v)) for v in tried])


class ForwardGradient(Backpropagation):
    """Forward gradient: weights move along a random direction by the slope of the loss in it.

    The slope is that of the gradient, which gives the same number as differentiating forwards.
    """

    family, source, local = "perturbation", "Baydin et al. 2022, 2202.08587", True
    relative_rate = tuned()["forward_gradient"]["rate"]

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """The gradient, of which one direction is kept."""
        lesson = super().learn(batch, objective, pace)
        tried = directions(batch, list(lesson.gradients))
        pairs = zip(lesson.gradients, tried, strict=True)
        slope = torch.stack([(g * v).flatten(1).sum(1) for g, v in pairs]).sum(0)
        return lesson._replace(gradients=[v.mul_(per_network(slope, v)) for v in tried])


class NodePerturbation(Pathway):
    """Node perturbation: units are disturbed, and weights move along the disturbance as far as it changed the loss.

    All units at once; x is what a layer read with the noise on. Gains and biases of norms do not learn. [ours]
    """

    family, source, local = "perturbation", "Fiete & Seung 2006; Dalm et al. 2023, 2310.00965", True
    relative_rate = tuned()["node_perturbation"]["rate"]
    flops = Products(forward=2, back=0)
    labelled = True
    defaults: ClassVar[dict[str, float]] = {"sigma": 0.01}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"sigma": (1e-6, 1)}

    def __init__(self, network: Network, draw: Draw, sigma: float) -> None:
        super().__init__(network, draw)
        self.sigma = sigma

    def learned(self) -> list[Tensor]:
        """Weights and biases of the layers."""
        return synapses(self.network.layers)

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Two forward passes, and a product per layer."""
        assert batch.keys is not None
        views = objective.views(batch)
        with torch.no_grad():
            quiet = Pass(training=True, keys=batch.keys)
            each = objective.each(self.network.forward(views, quiet), batch.y)
            pairs = list(zip(self.network.layers, quiet.outputs, strict=True))
            keys = [counters.derive(batch.keys, f"nudge {layer.name}") for layer, _ in pairs]
            drawn = [counters.normal(key, y.shape[1:]).to(y.dtype) for key, (_, y) in zip(keys, pairs, strict=True)]
            noisy = Pass(training=True, track=0.0, keys=batch.keys, nudges=[(xi * self.sigma).to(xi) for xi in drawn])
            change = objective.each(self.network.forward(views, noisy), batch.y) - each
            change.div_(self.sigma * each.shape[1])
            errors = [xi.mul_(change.view(*change.shape, *(1,) * (xi.ndim - 2))) for xi in drawn]
            return Lesson(each.mean(1), gradients(self.network.layers, noisy.received, errors))
