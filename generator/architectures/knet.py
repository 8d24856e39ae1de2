"""`knet4`, `knet4lrn`: the paper's small convolutional networks for 10-way image classification.

Nayebi et al. 2020, after Krizhevsky's cuda-convnet; the order of pooling, normalisation and nonlinearity is that of the
released code. Initial weights are He normal instead [ours]: the released ones leave small copies at chance.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from generator.architectures.network import InputShape, Network
from generator.layers import NONLINEARITIES, Draw, Pass, avg_pool, local_response_norm, max_pool


class KNet(Network):
    """conv 5×5×32 – maxpool – conv 5×5×32 – avgpool – conv 5×5×64 – avgpool – fc.

    With batch norm: each pool is followed by it, the first nonlinearity comes after it, and the other two directly after
    their convolution. With local response norm: the first nonlinearity follows the first pool; no norm before the fc.
    """

    def __init__(self, shape: InputShape, nonlinearity: str, draw: Draw, norm: str) -> None:
        super().__init__(shape, draw)
        self.phi = NONLINEARITIES[nonlinearity].phi
        self.batch = norm == "batch"
        side = shape.pixels
        self.convs = [
            self.conv("conv1", shape.channels, 32, 5),
            self.conv("conv2", 32, 32, 5, nonlinearity),
            self.conv("conv3", 32, 64, 5, nonlinearity),
        ]
        for _ in self.convs:
            side = (side + 1) // 2
        self.fc = self.linear("fc", 64 * side**2, shape.classes, last=True)
        if self.batch:
            for channels in (32, 32, 64):
                self.batch_norm(channels)

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b classes"]:
        """Logits."""
        conv1, conv2, conv3 = self.convs
        if self.batch:
            norm1, norm2, norm3 = self.norms
            x = self.phi(norm1(max_pool(conv1(x, run)), run))
            x = norm2(avg_pool(conv2(x, run)), run)
            x = norm3(avg_pool(conv3(x, run)), run)
        else:
            x = _normalise(self.phi(max_pool(conv1(x, run))))
            x = _normalise(avg_pool(conv2(x, run)))
            x = avg_pool(conv3(x, run))
        return self.fc(x.flatten(2), run)


def _normalise(x: Tensor) -> Tensor:
    return local_response_norm(x, radius=3, bias=1.0, alpha=5e-5, beta=0.75)
