"""`dfa`: direct feedback alignment. The output error reaches every block by its own random weights (Nøkland 2016, 1609.01596)."""

from __future__ import annotations

import torch
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway


class DirectFeedbackAlignment(Pathway):
    """Direct feedback alignment: the tensor that weight layer l + 1 reads has the error B_l e.

    e is the error at the network's output.

    Within a block (pooling, normalisation, nonlinearity, the weights themselves) differentiation is exact. B_l is drawn with
    standard deviation 1/√units, the law of the output layer's own weights; it is (k, units, outputs). [ours]

    A tensor that two layers read, as at the start of a residual block, is one place: the error arrives there once. An identity
    shortcut lies inside the blocks: what arrives above it also comes down through it. [ours]
    """

    def __init__(self, network: Network, draw: Draw) -> None:
        super().__init__(network, draw)
        run = Pass()
        with torch.no_grad():
            outputs = network.forward(network.sample(), run)
        self.feedback = {
            layer.name: draw("feedback", layer.name, (x[0, 0].numel(), outputs.shape[-1])) / x[0, 0].numel() ** 0.5
            for layer, x in self._places(run)
        }

    def _places(self, run: Pass) -> list[tuple[WeightLayer, Tensor]]:
        """Layers, each with the tensor that the next layer reads, unless the layer itself reads it too."""
        pairs = zip(self.network.layers, run.received, run.received[1:], strict=False)
        return [(layer, after) for layer, before, after in pairs if after is not before]

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass cut into blocks; the error arrives at all of them at once."""
        run = Pass(training=True, cut=True, keys=batch.keys)
        outputs = self.network.forward(objective.views(batch), run)
        losses = objective.loss(outputs, batch.y)
        (error,) = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
        places = self._places(run)
        arrivals = [torch.bmm(error, self.feedback[layer.name].mT).view(top.shape) for layer, top in places]
        ends, signals = [losses, *(top for _, top in places)], [torch.ones_like(losses), *arrivals]
        return Lesson(losses.detach(), torch.autograd.grad(ends, self.network.parameters(), signals))

    def tensors(self) -> dict[str, Tensor]:
        """The direct feedback weights, (k, units, outputs)."""
        return {f"{layer}.direct_feedback": tensor for layer, tensor in self.feedback.items()}
