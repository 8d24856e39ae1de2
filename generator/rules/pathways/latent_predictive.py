"""`latent_predictive`: units predict what they will say of a moved stimulus, and keep apart (Halvagal & Zenke 2023)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from generator import counters
from generator.architectures.layers import Draw
from generator.architectures.network import Network
from generator.curricula.contract import Batch
from generator.rules.contract import Products, tuned
from generator.rules.pathways.read_out import LayerLoss

FAR = 2  # pixels that a stimulus moves at most, along either axis [ours]
LEAST = 1e-4  # added to variances, as in the authors' code


class LatentPredictive(LayerLoss):
    """Latent predictive learning: a predictive, a Hebbian and a decorrelating term, in every hidden layer.

    The loss is ⟨(z − z′)²⟩ − push · ⟨log var z⟩ + decorrelate · ⟨cov(z_i, z_j)²⟩, the latter two of both views. z are a layer's
    outputs, their mean over positions, z′ those of the stimulus moved, edges wrapped round. The authors crop, turn and tint it.
    [ours]
    """

    family, source = "unsupervised", "Halvagal & Zenke 2023, Nat. Neurosci. 26, 1906"
    flops = Products(forward=3, back=0, correlate=2)
    defaults: ClassVar[dict[str, float]] = {"push": 1.0, "decorrelate": 10.0} | tuned()["latent_predictive"]

    def __init__(self, network: Network, draw: Draw, push: float, decorrelate: float, hidden_rate: float) -> None:
        super().__init__(network, draw, hidden_rate)
        self.push, self.decorrelate = push, decorrelate

    def stimuli(self, views: Tensor, batch: Batch) -> Tensor:
        """Each stimulus, then each moved; all of a network's by the same distance."""
        assert batch.keys is not None
        drawn = counters.uniform(counters.derive(batch.keys, "shift"), (2,))
        shifts = ((drawn * (2 * FAR + 1)).long() - FAR).tolist()
        moved = [torch.roll(x, shift, (-2, -1)) for x, shift in zip(views, shifts, strict=True)]
        return torch.cat([views, torch.stack(moved)], dim=1)

    def loss(self, y: Tensor) -> Tensor:
        """As above."""
        views = y.flatten(3).mean(3).chunk(2, dim=1) if y.ndim > 3 else y.chunk(2, dim=1)
        loss = (views[0] - views[1]).square().mean((1, 2))
        for z in views:
            apart = z - z.mean(1, keepdim=True).detach()
            covariance = torch.bmm(apart.mT, apart) / (z.shape[1] - 1)
            variance, units = covariance.diagonal(dim1=1, dim2=2), z.shape[2]
            others = covariance.square().sum((1, 2)) - variance.square().sum(1)
            loss = loss - 0.5 * self.push * (variance + LEAST).log().mean(1)
            loss = loss + 0.5 * self.decorrelate * others / max(1, units**2 - units)
        return loss
