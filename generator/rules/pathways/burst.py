"""`burst`: the error rides on the share of a cell's events that are bursts (Greedy et al. 2022, 2206.11769, "BurstCCN")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from generator.architectures.layers import Pass
from generator.curricula.contract import Batch
from generator.rules.pathways.chain import Chain, down, error, slope_times
from generator.rules.pathways.feedback import FeedbackAlignment
from generator.rules.pathways.products import gradients


class Burst(Chain, FeedbackAlignment):
    """BurstCCN: a burst probability σ(4 φ′ / y ⊙ ½ Bᵀ δ) above ½ strengthens, one below weakens: δ_l = y ⊙ (2σ − 1).

    y are event rates, which are not negative. For small errors this is feedback alignment; δ stays within ±y. B is random and
    fixed, and what feedback carries without a label is taken as cancelled: the authors' Q is ½ B. The output's error is
    p − y*. [ours]
    """

    family, source, local = "feedback", "Greedy et al. 2022, 2206.11769", True
    nonlinearities = ("relu", "sigmoid", "softplus")

    def teach(self, run: Pass, outputs: Tensor, batch: Batch) -> Sequence[Tensor]:
        """From the top down."""
        deltas = [error(outputs, batch)]
        for layer, above, y in zip(
            self.hidden[::-1], self.network.layers[:0:-1], run.outputs[-2::-1], strict=True
        ):  # φ has y tell its slope
            steered = slope_times(layer, down(above, deltas[0], above.feedback), y, y)
            share = torch.sigmoid(torch.where(y > 0, 2 * steered / y, 0.0))
            deltas.insert(0, share.mul_(2).sub_(1).mul_(y))
        return gradients(self.network.layers, run.received, [delta / delta.shape[1] for delta in deltas])
