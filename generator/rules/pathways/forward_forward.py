"""`forward_forward`: two forward passes in place of one and its way back (Hinton 2022, 2212.13345)."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from generator import counters
from generator.architectures.layers import Draw
from generator.architectures.network import Network
from generator.curricula.contract import Batch
from generator.rules.contract import Products, tuned
from generator.rules.pathways.read_out import LayerLoss


class ForwardForward(LayerLoss):
    """Forward-Forward: layers come to be active where stimulus and label agree, and silent where they do not.

    A layer's loss is softplus(θ − G) of a stimulus shown with its label and softplus(G − θ) of one with another label, G the
    mean of y². Layers read inputs of equal length. A label is a random pattern added to the stimulus, so that the network can
    be measured on stimuli as they are; Hinton writes it over the first pixels, and trains a read-out on a neutral label. [ours]
    """

    family, source, labelled = "local loss", "Hinton 2022, 2212.13345", True
    flops = Products(forward=3, back=0, correlate=2)
    defaults: ClassVar[dict[str, float]] = {"threshold": 1.0, "strength": 1.0} | tuned()["forward_forward"]
    even = True

    def __init__(self, network: Network, draw: Draw, threshold: float, strength: float, hidden_rate: float) -> None:
        super().__init__(network, draw, hidden_rate)
        self.threshold = threshold
        self.pattern = draw("pattern", "input", (network.shape.classes, network.sample()[0, 0].numel())) * strength

    def stimuli(self, views: Tensor, batch: Batch) -> Tensor:
        """Each stimulus with its label, then each with another one."""
        assert batch.keys is not None
        classes = self.pattern.shape[1]
        drawn = counters.uniform(counters.derive(batch.keys, "other"), batch.y.shape[1:])
        labels = batch.y.long()
        others = (labels + 1 + (drawn * (classes - 1)).long()) % classes
        shown = [
            torch.stack([pattern[each] for pattern, each in zip(self.pattern, which, strict=True)])
            for which in (labels, others)
        ]
        return torch.cat([views + pattern.view(views.shape) for pattern in shown], dim=1)

    def loss(self, y: Tensor) -> Tensor:
        """As above."""
        right, wrong = y.square().flatten(2).mean(2).sub(self.threshold).chunk(2, dim=1)
        return (F.softplus(-right) + F.softplus(wrong)).mean(1)

    def tensors(self) -> dict[str, Tensor]:
        """The labels' patterns, (k, classes, inputs)."""
        return {"pattern": self.pattern}
