"""`gevb`: one error vector, told to every unit of a vectorised nonnegative network (2106.04089)."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, WeightLayer
from generator.architectures.network import Network
from generator.rules.contract import Pathway, tuned
from generator.rules.pathways.direct import DirectFeedbackAlignment


class GlobalErrorVector(DirectFeedbackAlignment):
    """Global error-vector broadcasting: every vector unit has the output's error e at its y (Clark, Abbott & Chung 2021).

    So g_ij = Σ [unit i's gate is open] e · x_j, and in the first layer [open] e x_j. For one stimulus ∂L/∂y_i is e times a
    number ≥ 0, the sum over all paths from i to the output, since no weight on them is negative: g has the gradient's signs.
    """

    source = "Clark, Abbott & Chung 2021, 2106.04089"
    labelled = True
    architectures: ClassVar[Collection[str]] = ("vnn",)
    relative_rate = tuned()["gevb"]["rate"]

    def __init__(self, network: Network, draw: Draw) -> None:
        Pathway.__init__(self, network, draw)
        self.feedback = {}  # none: e needs no weights

    def arrival(
        self, message: Float[Tensor, "k b classes"], layer: WeightLayer, top: Float[Tensor, "k b units classes"]
    ) -> Float[Tensor, "k b units classes"]:
        """e, at every unit."""
        return message[:, :, None].expand_as(top)
