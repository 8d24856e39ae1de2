"""`mlp2`, `mlp3`: fully connected networks with 128 units per hidden layer. [ours]"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, Pass
from generator.architectures.network import Form, InputShape, Network

WIDTH = 128


class MLP(Network):
    """Fully connected layers, `depth` of them: hidden ones with the nonlinearity, and linear logits."""

    def __init__(self, shape: InputShape, form: Form, draw: Draw, depth: int) -> None:
        super().__init__(shape, form, draw)
        width = shape.channels * shape.pixels**2
        self.hidden = []
        for index in range(1, depth):
            self.hidden.append(self.linear(f"fc{index}", width, self.wide(WIDTH), form.nonlinearity))
            width = self.wide(WIDTH)
        self.readout = self.head(width, f"fc{depth}")

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The head's output."""
        x = x.flatten(2)
        for layer in self.hidden:
            x = layer(x, run)
        return self.readout(x, run)
