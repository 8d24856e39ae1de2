"""`knet4`, `knet5` and their `lrn` versions: the paper's small convolutional networks for 10-way image classification.

Nayebi et al. 2020, after Krizhevsky's cuda-convnet; the order of pooling, normalisation and nonlinearity is that of the
released code. Initial weights are He normal instead [ours]: the released ones leave small copies at chance.
"""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, Pass, avg_pool, local_response_norm, max_pool, pooled
from generator.architectures.network import Form, InputShape, Network

CHANNELS = (32, 32, 64, 128)


class KNet(Network):
    """conv 5×5×32 – maxpool – conv 5×5×32 – avgpool – conv 5×5×64 – avgpool (– conv 5×5×128 – avgpool) – fc.

    With batch norm: each pool is followed by it, the first nonlinearity comes after it, and the others directly after
    their convolution. With local response norm: the first nonlinearity follows the first pool, the norm the first two.
    The first convolution has no bias where batch norm would subtract it again, nor has the last norm under a head that would.
    """

    def __init__(self, shape: InputShape, form: Form, draw: Draw, depth: int, norm: str) -> None:
        super().__init__(shape, form, draw)
        self.batch = norm == "batch"
        channels = [shape.channels, *map(self.wide, CHANNELS[: depth - 1])]
        nonlinearities = ["linear"] + [form.nonlinearity] * (depth - 2)  # that of the first comes after its pool
        self.convs = [
            self.conv(f"conv{i}", n_in, n_out, 5, phi, bias=i > 1 or not self.batch)
            for i, ((n_in, n_out), phi) in enumerate(zip(pairwise(channels), nonlinearities, strict=True), 1)
        ]
        side = shape.pixels
        for _ in self.convs:
            side = pooled(side)
        if self.batch:
            for i, count in enumerate(channels[1:], 1):
                self.batch_norm(count, bias=i < len(self.convs) or not self.centred)
        self.normalised = self.convs if self.batch else self.convs[:2]
        self.readout = self.head(channels[-1] * side**2)

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The head's output."""
        for i, conv in enumerate(self.convs):
            x = (avg_pool if i else max_pool)(conv(x, run))
            if self.batch:
                x = self.norms[i](x, run)
            x = x if i else self.phi(x)
            if not self.batch and i < 2:
                x = local_response_norm(x, radius=3, bias=1.0, alpha=5e-5, beta=0.75)
        return self.readout(x.flatten(2), run)
