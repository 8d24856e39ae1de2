"""`dfa` and `drtp`: what the output says reaches every block by its own random weights (1609.01596, 1909.01311)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway, Products
from generator.rules.pathways.products import one_hot


def between(network: Network, run: Pass) -> list[tuple[WeightLayer, Tensor]]:
    """Layers, each with the tensor that the next layer reads, unless the layer itself reads it too."""
    pairs = zip(network.layers, run.received, run.received[1:], strict=False)
    return [(layer, after) for layer, before, after in pairs if after is not before]


class DirectFeedbackAlignment(Pathway):
    """Direct feedback alignment: the tensor that weight layer l + 1 reads has the error B_l e (Nøkland 2016).

    e is the error at the network's output.

    Within a block (pooling, normalisation, nonlinearity, the weights themselves) differentiation is exact. B_l is drawn with
    standard deviation 1/√units, the law of the output layer's own weights; it is (k, units, outputs). [ours]

    A tensor that two layers read, as at the start of a residual block, is one place: the error arrives there once. An identity
    shortcut lies inside the blocks: what arrives above it also comes down through it. [ours]
    """

    family, source, local = "direct feedback", "Nøkland 2016, 1609.01596", True
    flops = Products(back=0)

    def __init__(self, network: Network, draw: Draw) -> None:
        super().__init__(network, draw)
        run = Pass()
        with torch.no_grad():
            outputs = network.forward(network.sample(), run)
        self.feedback = {
            layer.name: draw("feedback", layer.name, (x[0, 0].numel(), outputs.shape[-1])) / x[0, 0].numel() ** 0.5
            for layer, x in between(network, run)
        }

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass cut into blocks; the error arrives at all of them at once."""
        return self.descend(batch, objective, Pass(training=True, cut=True, keys=batch.keys))

    def descend(self, batch: Batch, objective: Objective, run: Pass) -> Lesson:
        """The lesson of one pass, which `run` keeps."""
        outputs = self.network.forward(objective.views(batch), run)
        losses = objective.loss(outputs, batch.y)
        message = self.broadcast(batch, outputs, losses)
        places = between(self.network, run)
        arrivals = [self.arrival(message, layer, top) for layer, top in places]
        ends, signals = [losses, *(top for _, top in places)], [torch.ones_like(losses), *arrivals]
        return Lesson(losses.detach(), torch.autograd.grad(ends, self.network.parameters(), signals))

    def arrival(self, message: Float[Tensor, "k b outputs"], layer: WeightLayer, top: Tensor) -> Tensor:
        """The error at `top`, which the layer behind `layer` reads: B_l e."""
        return torch.bmm(message, self.feedback[layer.name].mT).view(top.shape)

    def broadcast(self, batch: Batch, outputs: Tensor, losses: Tensor) -> Float[Tensor, "k b outputs"]:
        """What every block is told: e."""
        (error,) = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
        return error

    def tensors(self) -> dict[str, Tensor]:
        """The direct feedback weights, (k, units, outputs)."""
        return {f"{layer}.direct_feedback": tensor for layer, tensor in self.feedback.items()}


class DirectRandomTargetProjection(DirectFeedbackAlignment):
    """Direct random target projection: the tensor that weight layer l + 1 reads has the error −B_l y*, y* the one-hot label.

    So no block waits for the output (Frenkel et al. 2021). −y* stands for the error p − y* of the cross-entropy, and like it is
    divided by the size of the batch. The output layer itself learns from its own error.
    """

    source, labelled = "Frenkel et al. 2021, 1909.01311", True

    def broadcast(self, batch: Batch, outputs: Tensor, losses: Tensor) -> Float[Tensor, "k b outputs"]:
        """−y* / b."""
        return one_hot(batch.y, outputs).mul_(-1 / outputs.shape[1])
