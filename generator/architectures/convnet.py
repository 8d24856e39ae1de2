"""`convnet(…)`: a plain convolutional network whose depth, kernel, channels, pools and norm are free. [ours]

Not a knet: those mix a max pool with mean pools, have the first nonlinearity behind its pool, and their batch norm behind the
pools. So they keep a class of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from generator.architectures.hidden import GAIN, NORM, RESIDUAL, Hidden, bound
from generator.architectures.layers import Draw, Pass, avg_pool, max_pool, pooled
from generator.architectures.network import Form, InputShape, Network
from generator.architectures.parameters import Choice, Parameter, Real, Whole

POOLS = {"max": max_pool, "avg": avg_pool}


class ConvNet(Network):
    """Convolutions that each halve the side while the next kernel still fits, and a fully connected read-out.

    Each is a convolution, a norm, the nonlinearity, a link, and a pool of 3×3 at stride 2. Without pools the convolution
    itself has stride 2. Sides are halved as long as more than half a kernel is left; a smaller map has taps that meet nothing but
    padding. So the number of layers is the same at every size of the input.
    """

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = {
        "depth": Whole(default=4, low=2, high=8, meaning="weight layers, the read-out included"),
        "kernel": Choice(default=3, options=(3, 5), meaning="side of the convolutions' kernels"),
        "channels": Whole(default=32, low=1, high=128, meaning="channels of the first convolution at width 1"),
        "growth": Real(
            default=1.0,
            low=0.5,
            high=2.0,
            from_depth=3,
            meaning="channels of a convolution, as a multiple of those of the one before",
        ),
        "pool": Choice(
            default="max",
            options=("max", "avg", "none"),
            meaning="how sides are halved, with none by convolutions of stride 2",
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
        kernel: int,
        channels: int,
        growth: float,
        pool: str,
        norm: str,
        residual: bool,
        gain: float,
    ) -> None:
        super().__init__(shape, form, draw)
        self.pool = POOLS.get(pool)
        self.hidden: list[Hidden] = []
        self.halving: list[bool] = []  # which convolutions are followed by a pool, or have stride 2
        count, side = shape.channels, shape.pixels
        for index in range(depth - 1):
            wider, half = self.wide(channels * growth**index), halved(side, kernel, strided=not self.pool)
            self.halving.append(half < side)
            stride = 2 if half < side and not self.pool else 1
            build = partial(self.conv, f"conv{index + 1}", count, wider, kernel, stride=stride)
            link = residual and index > 0 and wider == count and stride == 1
            self.hidden.append(Hidden(self, build, norm, link, gain))
            count, side = wider, half
        self.normalised = bound(self.hidden)
        self.readout = self.head(count * side**2)

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The head's output."""
        for layer, half in zip(self.hidden, self.halving, strict=True):
            x = layer(x, run)
            if self.pool and half:
                x = self.pool(x)
        return self.readout(x.flatten(2), run)


def halved(side: int, kernel: int, strided: bool) -> int:
    """Half of a side, or the side itself where this kernel or the next one would have taps that meet only padding."""
    half = -(-side // 2) if strided else pooled(side)
    last = 2 * (half - 1) if strided else side - 1  # where the last window of this convolution is centred
    return half if half > kernel // 2 and last >= kernel // 2 else side
