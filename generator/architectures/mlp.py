"""`mlp2`, `mlp3` and `mlp(…)`: fully connected networks with 128 units per hidden layer. [ours]"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from generator.architectures.hidden import GAIN, NORM, RESIDUAL, Hidden, bound
from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Form, InputShape, Network
from generator.architectures.parameters import Parameter, Real, Whole

WIDTH = 128


class MLP(Network):
    """Fully connected layers, `depth` of them: hidden ones with the nonlinearity, and linear logits."""

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = {
        "depth": Whole(default=2, low=1, high=12, meaning="weight layers, the read-out included"),
        "taper": Real(
            default=1.0,
            low=0.1,
            high=1.5,
            from_depth=3,
            meaning="units of a hidden layer, as a multiple of those of the layer before",
        ),
        "norm": NORM,
        "residual": RESIDUAL,
        "gain": GAIN,
    }

    def __init__(
        self,
        shape: InputShape,
        form: Form,
        draw: Draw,
        depth: int,
        taper: float = 1.0,
        norm: str = "none",
        residual: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__(shape, form, draw)
        width = shape.channels * shape.pixels**2
        self.hidden: list[Hidden] = []
        for index in range(depth - 1):
            units = self.wide(WIDTH * taper**index)
            link = residual and index > 0 and units == width
            self.hidden.append(Hidden(self, partial(self.linear, f"fc{index + 1}", width, units), norm, link, gain))
            width = units
        self.normalised = bound(self.hidden)
        self.readout = self.head(width, f"fc{depth}")

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The head's output."""
        x = x.flatten(2)
        for layer in self.hidden:
            x = layer(x, run)
        return self.readout(x, run)
