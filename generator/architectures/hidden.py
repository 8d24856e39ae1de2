"""Hidden layers that families with parameters share: weights, perhaps a norm, the nonlinearity, perhaps a link around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from generator.architectures.layers import Pass, WeightLayer
from generator.architectures.network import Network
from generator.architectures.parameters import Choice, Real, Switch

# What such families have in common. Without a hidden layer, or a second one, there is nothing to normalise, scale or link.
NORM = Choice(
    default="none",
    options=("none", "batch", "layer"),
    from_depth=2,
    meaning="normalisation between a hidden layer's weights and its nonlinearity",
)
RESIDUAL = Switch(from_depth=3, meaning="identity links around hidden layers whose output has the size of their input")
GAIN = Real(
    default=1.0,
    low=0.01,
    high=10.0,
    from_depth=2,
    meaning="factor on the standard deviation of hidden layers' initial weights",
)


class Hidden:
    """x → φ(norm(W x + b)), or with a link x + φ(norm(W x + b)).

    There is no b under batch norm, which would subtract it again.
    `build` is `Network.linear` or `Network.conv`, given a name and sizes.
    """

    def __init__(self, network: Network, build: Callable[..., WeightLayer], norm: str, link: bool, gain: float) -> None:
        self.phi, self.link = network.phi, link
        follows = network.form.nonlinearity if norm == "none" else "linear"
        self.layer = build(nonlinearity=follows, bias=norm != "batch", gain=gain)
        self.norm = None if norm == "none" else network.normalisation(norm, self.layer.weight.shape[1])

    def __call__(self, x: Tensor, run: Pass) -> Tensor:
        """The output, of the input's size if there is a link."""
        y = self.layer(x, run)
        if self.norm:
            y = self.phi(self.norm(y, run))
        return x + y if self.link else y


def bound(hidden: Sequence[Hidden]) -> list[WeightLayer]:
    """The layers of a row of hidden ones whose units cannot be rescaled: see `Network.normalised`."""
    carried = [*(one.link for one in hidden[1:]), False]  # past the next layer
    return [one.layer for one, past in zip(hidden, carried, strict=False) if one.norm or one.link or past]
