"""Rules that pass signals up and down a chain of fully connected layers, step by step, as their papers have it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Pass, WeightLayer
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway
from generator.rules.pathways.products import one_hot


class Chain(Pathway):
    """A rule on layers of which each reads what the one before puts out, and nothing else. The last one's output are logits."""

    dense, labelled = True, True

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward pass, and what the rule does with it."""
        with torch.no_grad():
            run = Pass(training=True, keys=batch.keys)
            outputs = self.network.forward(objective.views(batch), run)
            return Lesson(objective.loss(outputs, batch.y), self.teach(run, outputs, batch))

    @abstractmethod
    def teach(self, run: Pass, outputs: Float[Tensor, "k b classes"], batch: Batch) -> Sequence[Tensor]:
        """A gradient for every tensor of `learned`, the mean over the batch."""

    @property
    def hidden(self) -> list[WeightLayer]:
        """All layers but the last."""
        return self.network.layers[:-1]


def error(outputs: Float[Tensor, "k b classes"], batch: Batch) -> Float[Tensor, "k b classes"]:
    """e = softmax(outputs) − y*: the gradient of each stimulus's cross-entropy."""
    return outputs.softmax(-1).sub_(one_hot(batch.y, outputs))


def slope_times(layer: WeightLayer, error: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """φ′(a) ⊙ the error at y = φ(a)."""
    return layer.phi.backward(error, a if layer.phi.of_input else y)


def down(layer: WeightLayer, signal: Tensor, matrix: Tensor | None = None) -> Tensor:
    """Mᵀ times a signal at the layer's output; M = W where no other is given."""
    return torch.bmm(signal, layer.weight if matrix is None else matrix)
