"""`pepita`: a second forward pass, of an input that the error has changed (Dellaferrera & Kreiman 2022, 2201.11665)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway, Products, tuned
from generator.rules.pathways.products import gradients, synapses


class Pepita(Pathway):
    """PEPITA: g = (y − y′) x′ᵀ, where the primed pass has the input x + F e, e the error at the output.

    The last layer has g = e x′ᵀ. F is fixed, normal with standard deviation `strength` · √(2 / inputs). Gains and biases of
    norms do not learn. [ours]
    """

    family, source, local, labelled = "second pass", "Dellaferrera & Kreiman 2022, 2201.11665", True, True
    relative_rate = tuned()["pepita"]["rate"]
    flops = Products(forward=2, back=0)
    defaults: ClassVar[dict[str, float]] = {"strength": 0.05}

    def __init__(self, network: Network, draw: Draw, strength: float) -> None:
        super().__init__(network, draw)
        with torch.no_grad():
            stimulus = network.sample()
            outputs = network.forward(stimulus, Pass())
        inputs = stimulus[0, 0].numel()
        self.projection = draw("projection", "input", (inputs, outputs.shape[-1])) * (strength * math.sqrt(2 / inputs))

    def learned(self) -> list[Tensor]:
        """Weights and biases of the layers."""
        return synapses(self.network.layers)

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Two forward passes."""
        views = objective.views(batch)
        with torch.no_grad():
            first = Pass(training=True, keys=batch.keys)
            outputs = self.network.forward(views, first)
        answer = outputs.detach().requires_grad_()
        losses = objective.loss(answer, batch.y)
        (error,) = torch.autograd.grad(losses.sum(), answer)
        size = views.shape[1]
        with torch.no_grad():
            moved = torch.bmm(error * size, self.projection.mT).view(views.shape)
            second = Pass(training=True, track=0.0, keys=batch.keys)
            self.network.forward(views + moved, second)
            changes = [(y - there) / size for y, there in zip(first.outputs, second.outputs, strict=True)]
            return Lesson(losses.detach(), gradients(self.network.layers, second.received, [*changes[:-1], error]))

    def tensors(self) -> dict[str, Tensor]:
        """F, (k, inputs, outputs)."""
        return {"projection": self.projection}
