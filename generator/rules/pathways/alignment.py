"""`ia`: information alignment. Backward weights descend an alignment loss of their own (Kunin et al. 2020, 2003.01513)."""

from __future__ import annotations

import torch
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace, tuned
from generator.rules.pathways.feedback import FeedbackAlignment
from generator.rules.pathways.primitives import DECAY, amp_partner, null_partner
from generator.rules.updates.adam import Adam


class InformationAlignment(FeedbackAlignment):
    """Information alignment: M = B, and B descends α·amp + β·null + γ·decay by Adam at its own rate.

    Adam because the loss's curvature, 2β W Σ Wᵀ, grows by orders of magnitude as a network learns: a plain rate that
    aligns early diverges later. [ours]

    Where Σ = ⟨x xᵀ⟩ stays fixed, B tends to (α/2) (β W Σ Wᵀ + γ I)⁻¹ W Σ. The parameters come from the search.
    """

    defaults = tuned()["ia"]

    def __init__(
        self, network: Network, draw: Draw, alpha: float, beta: float, gamma: float, feedback_rate: float
    ) -> None:
        super().__init__(network, draw)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.feedbacks = [layer.feedback for layer in network.layers if layer.feedback is not None]
        first = network.layers[0].weight
        self.rate = first.new_full((len(first),), feedback_rate)
        self.update = Adam(self.feedbacks, **Adam.defaults)

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Backpropagate through B, then move B on the same activations."""
        drives: list[Tensor] = []
        run = Pass(training=True, keys=batch.keys, drives=drives)
        lesson = self.descend(batch, objective, run)
        with torch.no_grad():
            passed = zip(self.network.layers, run.received, drives, strict=True)
            gradients = [self.gradient(*each) for each in passed if each[0].feedback is not None]
            self.update.step(self.feedbacks, gradients, self.rate)
        return lesson

    def gradient(self, layer: WeightLayer, x: Tensor, p_f: Tensor) -> Tensor:
        """The gradient of the layer's alignment loss with respect to B; `p_f` is W x."""
        assert layer.feedback is not None
        partner = null_partner(layer, x, p_f, layer.feedback).mul_(self.beta)
        partner.add_(amp_partner(x.detach(), p_f), alpha=self.alpha)
        return layer.correlate(partner, p_f).add_(layer.feedback, alpha=self.gamma * DECAY)
