"""`bp`: backpropagation. The error comes down through the transposed forward weights (Rumelhart et al. 1986)."""

from __future__ import annotations

import torch

from generator.architectures.layers import Pass
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, Pathway


class Backpropagation(Pathway):
    """Backpropagation: δ_below = (Mᵀ δ) ⊙ φ′ with M the layer's `feedback` weights, or W where it has none, as here."""

    family, source, local = "backpropagation", "Rumelhart et al. 1986", False
    shared_pass = True

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One forward and one backward pass."""
        return self.descend(batch, objective, Pass(training=True, keys=batch.keys))

    def descend(self, batch: Batch, objective: Objective, run: Pass) -> Lesson:
        """The lesson of one pass, which `run` keeps."""
        losses = objective.loss(self.network.forward(objective.views(batch), run), batch.y)
        return Lesson(losses.detach(), torch.autograd.grad(losses.sum(), self.network.parameters()))
