"""What a network optimises. An objective may present several views of a stimulus; it owns loss and accuracy.

A new objective is a class here (or in a file of its own) and a line in the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class Objective(ABC):
    """The contract of an objective."""

    @abstractmethod
    def views(self, x: Tensor) -> Tensor:
        """What the network sees of the stimuli (k, b, …): (k, views × b, …)."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of each network over its batch, (k,)."""

    @abstractmethod
    def accuracy(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The share of stimuli each network gets right, (k,)."""


class Supervised(Objective):
    """Cross-entropy of the labels: one view, the stimulus itself."""

    def views(self, x: Tensor) -> Tensor:
        """The stimuli."""
        return x

    def loss(self, outputs: Float[Tensor, "k b classes"], labels: Int[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """Mean negative log-likelihood in nats."""
        # Classes second and the batch innermost: over a last axis of few classes the kernel is four times slower on a CPU.
        return F.cross_entropy(outputs.mT.contiguous(), labels, reduction="none").mean(1)

    def accuracy(self, outputs: Float[Tensor, "k b classes"], labels: Int[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """Share of stimuli whose largest output is the label's."""
        return (outputs.argmax(-1) == labels).to(outputs.dtype).mean(1)


OBJECTIVES: dict[str, Objective] = {"supervised": Supervised()}
