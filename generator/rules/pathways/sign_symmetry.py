"""Sign symmetry: the error comes down through weights that share the forward ones' signs (Liao et al. 2016, 1510.05067).

    uniform_sign    M = s · sign(W)         batchwise_sign    M = |B_t| ⊙ sign(W)         fixed_sign    M = |B| ⊙ sign(W)

B is drawn like W, B_t anew for every batch; s is the standard deviation with which W was drawn, so that errors start as large
as under backpropagation. [ours: the paper has s = 1 and normalises batches] The sign is that of the current W. Sign symmetry
scales to large networks (Xiao et al. 2019, 1811.03567).
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from generator import counters
from generator.architectures.layers import Draw, WeightLayer
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace
from generator.rules.pathways.feedback import FeedbackAlignment


class SignSymmetry(FeedbackAlignment):
    """M = S ⊙ sign(W)."""

    family, source, local = "sign symmetry", "Liao et al. 2016, 1510.05067", False

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """Set M by the current weights, and backpropagate through it."""
        with torch.no_grad():
            for layer in self.network.layers[1:]:
                assert layer.feedback is not None
                layer.feedback.copy_(layer.weight.sign() * self.strength(layer, batch))
        return super().learn(batch, objective, pace)

    @abstractmethod
    def strength(self, layer: WeightLayer, batch: Batch) -> Tensor | float:
        """S, not negative, of the weights' shape or one number."""


class UniformSign(SignSymmetry):
    """Uniform sign-concordant feedback: M = s · sign(W), s the standard deviation of the initial weights."""

    def strength(self, layer: WeightLayer, batch: Batch) -> float:
        """s."""
        return layer.scale


class BatchwiseSign(SignSymmetry):
    """Batchwise random-magnitude sign-concordant feedback: M = |B_t| ⊙ sign(W), with B_t drawn anew for every batch."""

    def strength(self, layer: WeightLayer, batch: Batch) -> Tensor:
        """|B_t|."""
        assert batch.keys is not None
        drawn = counters.normal(counters.derive(batch.keys, f"feedback {layer.name}"), layer.weight.shape[1:])
        return drawn.to(layer.weight.dtype).abs_().mul_(layer.scale)


class FixedSign(SignSymmetry):
    """Fixed random-magnitude sign-concordant feedback: M = |B| ⊙ sign(W)."""

    def __init__(self, network: Network, draw: Draw) -> None:
        super().__init__(network, draw)
        self.magnitudes = {layer.name: layer.feedback.abs() for layer in network.layers if layer.feedback is not None}

    def strength(self, layer: WeightLayer, batch: Batch) -> Tensor:
        """|B|."""
        return self.magnitudes[layer.name]
