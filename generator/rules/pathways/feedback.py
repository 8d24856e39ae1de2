"""`fa` and `kolen_pollack`: the error comes down through weights of its own (Lillicrap et al. 2016, 1411.0247)."""

from __future__ import annotations

from torch import Tensor

from generator.architectures.layers import Draw
from generator.architectures.network import Network
from generator.curricula.contract import Batch, Objective
from generator.rules.contract import Lesson, Pace
from generator.rules.pathways.backprop import Backpropagation


class FeedbackAlignment(Backpropagation):
    """Feedback alignment: M = B, fixed and random.

    It is drawn like W, on a stream of its own. The first layer has none: no error leaves it.
    """

    family, source, local = "feedback", "Lillicrap et al. 2016, 1411.0247", True
    shared_pass = True

    def __init__(self, network: Network, draw: Draw) -> None:
        super().__init__(network, draw)
        for layer in network.layers[1:]:
            layer.feedback = draw("feedback", layer.name, tuple(layer.weight.shape[1:])) * layer.scale


class KolenPollack(FeedbackAlignment):
    """Kolen–Pollack: M = B, and B moves as W does, by the same products δ xᵀ and with the same decay (1904.05391, eq. 16-17).

    So W − B shrinks by 1 − η λ at every step of plain gradient descent. Without decay it stays what it was, and is outgrown
    (Kolen & Pollack 1994).
    """

    family, source = "alignment", "Kolen & Pollack 1994; Akrout et al. 2019, 1904.05391"

    def learned(self) -> list[Tensor]:
        """The backward weights, too."""
        return [*super().learned(), *(layer.feedback for layer in self.network.layers if layer.feedback is not None)]

    def learn(self, batch: Batch, objective: Objective, pace: Pace) -> Lesson:
        """One gradient for each pair of W and B."""
        lesson = super().learn(batch, objective, pace)
        found = {id(w): g for w, g in zip(self.network.parameters(), lesson.gradients, strict=True)}
        again = [found[id(layer.weight)].clone() for layer in self.network.layers if layer.feedback is not None]
        return lesson._replace(gradients=[*lesson.gradients, *again])
