"""`fa`: feedback alignment. The error comes down through fixed random weights (Lillicrap et al. 2016, 1411.0247)."""

from __future__ import annotations

from generator.architectures.layers import Draw
from generator.architectures.network import Network
from generator.rules.pathways.backprop import Backpropagation


class FeedbackAlignment(Backpropagation):
    """Feedback alignment: M = B, fixed and random.

    It is drawn like W, on a stream of its own. The first layer has none: no error leaves it.
    """

    def __init__(self, network: Network, draw: Draw) -> None:
        super().__init__(network, draw)
        for layer in network.layers[1:]:
            layer.feedback = draw("feedback", layer.name, tuple(layer.weight.shape[1:])) * layer.scale
