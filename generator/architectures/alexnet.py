"""`alexnet`, `alexnetlrn`: five convolutions and three fully connected layers (Krizhevsky et al. 2012).

Numbers of channels are those of the code that Nayebi et al. 2020 released. Convolutions keep ⌈side / stride⌉, pools ⌊side / 2⌋.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, Pass, dropout, local_response_norm, max_pool, pooled
from generator.architectures.network import Form, InputShape, Network

STEMS = {"large": (11, 4), "small": (5, 1)}  # kernel and stride of the first convolution; the small one is [ours]
CONVOLUTIONS = ((256, 5), (384, 3), (384, 3), (256, 3))  # channels and kernel of the others
POOLED = (0, 1, 4)  # convolutions followed by a pool
NORMALISED = (0, 1)  # … and by local response norm before it, in alexnetlrn
UNITS = 4096


class AlexNet(Network):
    """conv 96 – pool – conv 256 – pool – conv 384 – conv 384 – conv 256 – pool – fc 4096 – fc 4096 – fc.

    Dropout of one half on the two large fully connected layers; without batch norm.
    """

    def __init__(self, shape: InputShape, form: Form, draw: Draw, norm: bool) -> None:
        super().__init__(shape, form, draw)
        self.norm, phi = norm, form.nonlinearity
        size, stride = STEMS[form.stem]
        channels, side = self.wide(96), -(-shape.pixels // stride)
        self.convs = [self.conv("conv1", shape.channels, channels, size, phi, stride=stride)]
        for index, (count, size) in enumerate(CONVOLUTIONS, 2):
            self.convs.append(self.conv(f"conv{index}", channels, self.wide(count), size, phi))
            channels = self.wide(count)
        self.normalised = [self.convs[index] for index in NORMALISED] if norm else []
        for _ in POOLED:
            side = pooled(side)
        units = self.wide(UNITS)
        self.large = [self.linear("fc6", channels * side**2, units, phi), self.linear("fc7", units, units, phi)]
        self.readout = self.head(units, "fc8")

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The head's output."""
        for index, conv in enumerate(self.convs):
            x = conv(x, run)
            if self.norm and index in NORMALISED:
                x = local_response_norm(x, radius=5, bias=1.0, alpha=1e-4, beta=0.75)
            if index in POOLED:
                x = max_pool(x)
        x = x.flatten(2)
        for layer in self.large:
            x = dropout(layer(x, run), run, layer.name)
        return self.readout(x, run)
