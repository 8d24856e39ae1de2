"""`local_loss`: every block learns from a loss of its own (Nøkland & Eidnes 2019, 1901.06656, "predsim")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway, Products, tuned
from generator.rules.pathways.direct import between
from generator.rules.pathways.products import one_hot


def similarity(x: Float[Tensor, "k b n"]) -> Float[Tensor, "k b b"]:
    """The correlation over n of every two stimuli."""
    centred = x - x.mean(2, keepdim=True)
    unit = centred / (centred.norm(dim=2, keepdim=True) + 1e-8)
    return torch.bmm(unit, unit.mT)


class LocalLoss(Pathway):
    """Local losses: each hidden block has a linear read-out of its own, and no error passes from block to block.

    The loss of a block is (1 − β) · cross-entropy of its read-out + β · ⟨(S(h) − S(y*))²⟩, S the correlations of stimuli:
    stimuli of a class are to be alike. h is what the next layer reads, y* the one-hot labels. The last layer's loss is
    (1 − β) · cross-entropy. The read-outs learn, too.

    The authors have a further layer between h and S, compare the spread of maps, pool maps for the read-outs, and give these
    biases. Here no weights decay, since rates are large. Within a block, which an identity link may leave, differentiation is
    exact. [ours]
    """

    family, source, local, labelled = "local loss", "Nøkland & Eidnes 2019, 1901.06656", False, True
    relative_rate = tuned()["local_loss"]["rate"]
    flops = Products(back=0)
    defaults: ClassVar[dict[str, float]] = {"beta": 0.99}
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0, 1)}

    def __init__(self, network: Network, draw: Draw, beta: float) -> None:
        super().__init__(network, draw)
        self.beta = beta
        with torch.no_grad():
            outputs = network.forward(network.sample(), run := Pass())
        sizes = {layer.name: x[0, 0].numel() for layer, x in between(network, run)}
        self.readouts = {
            name: draw("readout", name, (outputs.shape[-1], size)) / size**0.5 for name, size in sizes.items()
        }

    def learned(self) -> list[Tensor]:
        """The read-outs, too."""
        return [*super().learned(), *self.readouts.values()]

    def decaying(self) -> Sequence[WeightLayer]:
        """None."""
        return []

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass cut into blocks."""
        run = Pass(training=True, cut=True, keys=batch.keys)
        outputs = self.network.forward(objective.views(batch), run)
        losses = objective.loss(outputs, batch.y)
        wanted = similarity(one_hot(batch.y, outputs))
        total = (1 - self.beta) * losses.sum()
        for layer, top in between(self.network, run):
            h = top.flatten(2)
            named = objective.loss(torch.bmm(h, self.readouts[layer.name].mT), batch.y)
            unlike = (similarity(h) - wanted).square().mean((1, 2))
            total = total + ((1 - self.beta) * named + self.beta * unlike).sum()
        return Lesson(losses.detach(), torch.autograd.grad(total, self.learned()))

    def tensors(self) -> dict[str, Tensor]:
        """The read-outs, (k, outputs, units)."""
        return {f"{name}.readout": tensor for name, tensor in self.readouts.items()}
