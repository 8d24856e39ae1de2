"""What an architecture is: a stack of networks that lists its weight layers and can be run forward."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import NONLINEARITIES, NORMS, Conv, Draw, Linear, Norm, Pass, WeightLayer

STEMS = ("small", "large")
LARGE = 64  # pixels from which the large stem is the default
PROJECTION = 128  # outputs of SimCLR's head (released code)
HEAD_PENALTY = 1e-6  # L2 penalty on the weights of SimCLR's head (released code)


@dataclass(frozen=True)
class InputShape:
    """The shape of one stimulus, and the number of classes to tell apart."""

    channels: int
    pixels: int
    classes: int


@dataclass(frozen=True)
class Form:
    """What may vary about an architecture.

    Args:
        width: factor on the units and channels of all hidden layers.
        stem: "large", as published for images of 224 pixels, or "small", which keeps the input's resolution. An
            architecture without either ignores it.
        head: "classes", a linear read-out, or "projection", SimCLR's two layers.
        precision: what products are computed in: "float32" or "bfloat16".
    """

    nonlinearity: str = "relu"
    width: float = 1.0
    stem: str = "large"
    head: str = "classes"
    precision: str = "float32"


class Network(ABC):
    """A stack of k networks of one architecture. Building it draws its initial weights.

    Attributes:
        pathways: those that can train it; empty where all can.
    """

    pathways: ClassVar[Collection[str]] = ()

    def __init__(self, shape: InputShape, form: Form, draw: Draw) -> None:
        self.shape, self.form = shape, form
        self.phi, self.variance = NONLINEARITIES[form.nonlinearity].phi, NONLINEARITIES[form.nonlinearity].gain
        self._draw = draw
        self.layers: list[WeightLayer] = []
        self.norms: list[Norm] = []
        # Layers whose output is normalised, added to another one, or carried past the next layer, before or as it is read.
        self.normalised: Sequence[WeightLayer] = ()

    @abstractmethod
    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The output for a batch of stimuli per network; `run` says how and keeps what the weight layers saw."""

    def sample(self) -> Float[Tensor, "k 1 c h w"]:
        """One blank stimulus per network."""
        weight, shape = self.layers[0].weight, self.shape
        return weight.new_zeros((len(weight), 1, shape.channels, shape.pixels, shape.pixels))

    def parameters(self) -> list[Tensor]:
        """All trained tensors, each with its leading axis k."""
        parts: list[WeightLayer | Norm] = [*self.layers, *self.norms]
        return [tensor for part in parts for tensor in (part.weight, part.bias) if tensor is not None]

    def constrain(self) -> None:
        """After every update: put weights back to where they may be, in place. Here they may be anything."""
        return

    def readers(self) -> list[tuple[WeightLayer, WeightLayer]]:
        """Pairs of layers, of which the second is the first to read the first one's units, or channels.

        Between them are no other weights, but there may be a norm, a nonlinearity, a pool or a link. An error that comes back
        through weights comes to a layer through its reader's. The last layer has none.
        """
        return list(pairwise(self.layers))

    def rescalable(self) -> list[tuple[WeightLayer, WeightLayer]]:
        """Those pairs between which each unit can be rescaled: up before the nonlinearity and down behind it, without effect.

        That takes a nonlinearity with φ(c a) = c φ(a) directly behind the first, and nothing but pooling, flattening and dropout
        before the second reads its units.
        """
        return [pair for pair in self.readers() if pair[0].phi.homogeneous and pair[0] not in self.normalised]

    # -- for the subclasses' constructors ------------------------------------------------------------------------------
    def wide(self, units: int | float) -> int:
        """A number of hidden units or channels at this network's width."""
        return max(1, round(self.form.width * units))

    def linear(self, name: str, n_in: int, n_out: int, nonlinearity: str = "linear", **options: Any) -> Linear:
        """A new fully connected layer, listed. Layers are listed in the order in which `forward` runs them."""
        layer = Linear(name, n_in, n_out, nonlinearity, self._draw, **self._drawn(**options))
        self.layers.append(layer)
        return layer

    def conv(self, name: str, c_in: int, c_out: int, size: int, nonlinearity: str = "linear", **options: Any) -> Conv:
        """A new convolution, listed."""
        layer = Conv(name, c_in, c_out, size, nonlinearity, self._draw, **self._drawn(**options))
        self.layers.append(layer)
        return layer

    def _drawn(self, gain: float = 1.0, **options: Any) -> dict[str, Any]:
        """Options of a layer. `gain`: factor on the standard deviation of its initial weights."""
        return {"variance": self.variance * gain**2, "precision": self.form.precision, **options}

    @property
    def centred(self) -> bool:
        """Whether the head subtracts each feature's mean, so that nothing constant in front of it can be learned."""
        return _HEADS[self.form.head].centred

    def normalisation(self, kind: str, channels: int, bias: bool = True) -> Norm:
        """A new normalisation, "batch" or "layer", listed."""
        norm = NORMS[kind](channels, self.layers[-1].weight, bias)
        self.norms.append(norm)
        return norm

    def batch_norm(self, channels: int, bias: bool = True) -> Norm:
        """A new batch normalisation, listed."""
        return self.normalisation("batch", channels, bias)

    def head(self, features: int, name: str = "fc") -> Head:
        """What reads the backbone's features: the read-out called `name`, or SimCLR's head in its place."""
        return _HEADS[self.form.head](self, features, name)


class Head(ABC):
    """The last layers of a network. `layers` are those that lie behind the backbone's features; `centred`: as of a network."""

    layers: int
    centred: bool = False

    @abstractmethod
    def __init__(self, network: Network, features: int, name: str) -> None:
        """List the head's layers in `network`."""

    @abstractmethod
    def __call__(self, x: Float[Tensor, "k b features"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The network's output."""


class Readout(Head):
    """One linear layer: logits."""

    layers = 1

    def __init__(self, network: Network, features: int, name: str) -> None:
        self.layer = network.linear(name, features, network.shape.classes, last=True)

    def __call__(self, x: Float[Tensor, "k b features"], run: Pass) -> Float[Tensor, "k b classes"]:
        """Logits."""
        return self.layer(x, run)


class Projection(Head):
    """SimCLR's head: linear, batch norm, nonlinearity, linear, batch norm (Chen et al. 2020; released code).

    Neither has a bias: batch norm would subtract it again. The released code gives the first one a bias all the same [ours].
    """

    layers, centred = 2, True

    def __init__(self, network: Network, features: int, name: str) -> None:
        self.phi = network.phi
        self.first = network.linear("head1", features, features, bias=False, penalty=HEAD_PENALTY)
        self.norm1 = network.batch_norm(features)
        self.second = network.linear("head2", features, PROJECTION, last=True, bias=False, penalty=HEAD_PENALTY)
        self.norm2 = network.batch_norm(PROJECTION)

    def __call__(self, x: Float[Tensor, "k b features"], run: Pass) -> Float[Tensor, "k b 128"]:
        """Embeddings, not yet of unit length."""
        return self.norm2(self.second(self.phi(self.norm1(self.first(x, run), run)), run), run)


_HEADS: dict[str, type[Head]] = {"classes": Readout, "projection": Projection}


@dataclass(frozen=True)
class Family:
    """An architecture's class with its options, the smallest input it takes and its default L2 penalty (SCIENCE: [code])."""

    build: Any  # a Network subclass: build(shape, form, draw, **options)
    options: Mapping[str, Any]
    min_pixels: int
    weight_decay: float
    stems: bool = False  # whether it comes with a small and a large stem

    @property
    def name(self) -> str:
        """What its members have in common: mlp, knet, …"""
        return self.build.__name__.lower()

    def __call__(self, shape: InputShape, form: Form, draw: Draw) -> Network:
        """A stack of networks for stimuli of `shape`. Raises RequestError if the input is too small for its kernels."""
        return self.build(shape, form, draw, **self.options)

    def __hash__(self) -> int:
        return hash((self.build, tuple(self.options.items())))

    def default_stem(self, pixels: int) -> str:
        """The stem that suits an input's side length; "small" where the architecture has no choice."""
        return "large" if self.stems and pixels >= LARGE else "small"


@dataclass(frozen=True)
class LayerSize:
    """The size of one weight layer, as run: numbers of weights, output units, and multiply-adds per stimulus."""

    name: str
    weights: int
    units: int
    macs: int


@lru_cache(maxsize=4096)
def measure(family: Family, shape: InputShape, form: Form) -> tuple[LayerSize, ...]:
    """Sizes of all layers, from a forward pass of no stimulus. Raises RequestError for an impossible input."""
    network, run = _passed(family, shape, form)
    sizes = []
    for layer, y in zip(network.layers, run.outputs, strict=True):
        units = math.prod(y.shape[2:])
        sizes.append(LayerSize(layer.name, layer.weight.numel(), units, units * layer.fan_in))
    return tuple(sizes)


@lru_cache(maxsize=4096)
def chained(family: Family, shape: InputShape, form: Form) -> bool:
    """Whether all layers are fully connected, and each reads the output of the one before as it is.

    Raises RequestError for an impossible input.
    """
    network, run = _passed(family, shape, form)
    direct = all(x is y for x, y in zip(run.received[1:], run.outputs, strict=False))
    return direct and all(isinstance(layer, Linear) for layer in network.layers)


def _passed(family: Family, shape: InputShape, form: Form) -> tuple[Network, Pass]:
    """A network whose weights are all 0, and a forward pass of no stimulus.

    Not on PyTorch's meta device, whose first use costs more than a second of imports in every process.
    """

    def draw(purpose: str, layer: str, dims: tuple[int, ...]) -> Tensor:
        return torch.zeros(()).expand(1, *dims)

    network, run = family(shape, form, draw), Pass()
    with torch.no_grad():
        network.forward(network.sample()[:, :0], run)
    return network, run
