"""What an architecture is: a stack of networks that lists its weight layers and can be run forward."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from generator.layers import BatchNorm, Conv, Draw, Linear, Pass, WeightLayer


@dataclass(frozen=True)
class InputShape:
    """The shape of one stimulus, and the number of classes to tell apart."""

    channels: int
    pixels: int
    classes: int


class Network(ABC):
    """A stack of k networks of one architecture. Building it draws its initial weights."""

    def __init__(self, shape: InputShape, draw: Draw) -> None:
        self.shape = shape
        self._draw = draw
        self.layers: list[WeightLayer] = []
        self.norms: list[BatchNorm] = []

    @abstractmethod
    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b classes"]:
        """The output for a batch of stimuli per network; `run` says how and keeps what the weight layers saw."""

    def sample(self) -> Float[Tensor, "k 1 c h w"]:
        """One blank stimulus per network."""
        weight, shape = self.layers[0].weight, self.shape
        return weight.new_zeros((len(weight), 1, shape.channels, shape.pixels, shape.pixels))

    def parameters(self) -> list[Tensor]:
        """All trained tensors, each with its leading axis k."""
        parts: list[WeightLayer | BatchNorm] = [*self.layers, *self.norms]
        return [tensor for part in parts for tensor in (part.weight, part.bias)]

    # -- for the subclasses' constructors ------------------------------------------------------------------------------
    def linear(self, name: str, n_in: int, n_out: int, nonlinearity: str = "linear", last: bool = False) -> Linear:
        """A new fully connected layer, listed."""
        layer = Linear(name, n_in, n_out, nonlinearity, self._draw, last)
        self.layers.append(layer)
        return layer

    def conv(self, name: str, c_in: int, c_out: int, size: int, nonlinearity: str = "linear") -> Conv:
        """A new convolution, listed."""
        layer = Conv(name, c_in, c_out, size, nonlinearity, self._draw)
        self.layers.append(layer)
        return layer

    def batch_norm(self, channels: int) -> BatchNorm:
        """A new batch normalisation, listed."""
        norm = BatchNorm(channels, like=self.layers[-1].weight)
        self.norms.append(norm)
        return norm


@dataclass(frozen=True)
class Family:
    """An architecture's class with its options, the smallest input it takes and its default L2 penalty (SCIENCE: [code])."""

    build: Any  # a Network subclass: build(shape, nonlinearity, draw, **options)
    options: Mapping[str, Any]
    min_pixels: int
    weight_decay: float

    def __call__(self, shape: InputShape, nonlinearity: str, draw: Draw) -> Network:
        """A stack of networks for stimuli of `shape`. Raises RequestError if the input is too small for its kernels."""
        return self.build(shape, nonlinearity, draw, **self.options)

    def __hash__(self) -> int:
        return hash((self.build, tuple(self.options.items())))


@dataclass(frozen=True)
class LayerSize:
    """The size of one weight layer, as run: numbers of weights, output units, and multiply-adds per stimulus."""

    name: str
    weights: int
    units: int
    macs: int


@lru_cache(maxsize=256)
def measure(family: Family, shape: InputShape) -> tuple[LayerSize, ...]:
    """Sizes of all layers, from a forward pass of no stimulus. Raises RequestError for an impossible input.

    Not on PyTorch's meta device, whose first use costs more than a second of imports in every process.
    """

    def draw(purpose: str, layer: str, dims: tuple[int, ...]) -> Tensor:
        return torch.empty((1, *dims))

    network, run = family(shape, "relu", draw), Pass()
    with torch.no_grad():
        network.forward(network.sample()[:, :0], run)
    sizes = []
    for layer, y in zip(network.layers, run.outputs, strict=True):
        units, positions = math.prod(y.shape[2:]), math.prod(y.shape[3:])
        sizes.append(LayerSize(layer.name, layer.weight.numel(), units, layer.weight.numel() * positions))
    return tuple(sizes)
