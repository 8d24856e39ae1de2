"""`supervised`: cross-entropy of the labels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from generator.architectures.layers import Pass
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective


class Supervised(Objective):
    """Cross-entropy of the labels: one view, the stimulus itself."""

    head, labelled = "classes", True

    def views(self, batch: Batch) -> Tensor:
        """The stimuli."""
        return batch.x

    def loss(self, outputs: Float[Tensor, "k b classes"], labels: Int[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """Mean negative log-likelihood in nats."""
        return self.each(outputs, labels).mean(1)

    def each(self, outputs: Float[Tensor, "k b classes"], labels: Int[Tensor, "k b"]) -> Float[Tensor, "k b"]:
        """Of every stimulus."""
        # Classes second and the batch innermost: over a last axis of few classes the kernel is four times slower on a CPU.
        return F.cross_entropy(outputs.mT.contiguous(), labels, reduction="none")

    def chance(self, classes: int, batch: int) -> float:
        """ln(classes)."""
        return math.log(classes)

    def accuracy(self, outputs: Float[Tensor, "k b classes"], labels: Int[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """Share of stimuli whose largest output is the label's."""
        return (outputs.argmax(-1) == labels).to(outputs.dtype).mean(1)

    def assess(
        self, network: Network, probe: Batch, run: Pass, outputs: Tensor, reference: Callable[[], Batch]
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy of the network's own outputs."""
        return self.loss(outputs, probe.y), self.accuracy(outputs, probe.y)
