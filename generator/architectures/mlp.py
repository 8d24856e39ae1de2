"""`mlp2`, `mlp3`: fully connected networks with 128 units per hidden layer. [ours]"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import InputShape, Network
from generator.layers import Draw, Pass

WIDTH = 128


class MLP(Network):
    """`depth` weight layers: hidden ones with the nonlinearity, and linear logits."""

    def __init__(self, shape: InputShape, nonlinearity: str, draw: Draw, depth: int) -> None:
        super().__init__(shape, draw)
        width = shape.channels * shape.pixels**2
        for index in range(1, depth):
            self.linear(f"fc{index}", width, WIDTH, nonlinearity)
            width = WIDTH
        self.linear(f"fc{depth}", width, shape.classes, last=True)

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b classes"]:
        """Logits."""
        x = x.flatten(2)
        for layer in self.layers:
            x = layer(x, run)
        return x
