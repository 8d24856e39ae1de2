"""`teacher:17`: what does a network of random weights, the teacher, say of a smooth random field?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from generator.curricula.families.contract import Family, Labelled, integers, log_uniform, uniform
from generator.curricula.families.fields import averaged, field

RETINA = (
    8  # pixels a side of what the teacher sees: the picture averaged down, so that it is the same teacher at any side
)
BALANCING = 2048, 60  # fields with which the teacher's biases are found, and rounds of it


class Network(NamedTuple):
    """The teacher: tanh(x W + b) layer by layer, then x W + b; x is what it sees, divided by `scale`."""

    weights: list[Float64[np.ndarray, "inputs outputs"]]
    biases: list[Float64[np.ndarray, " outputs"]]
    scale: float

    def outputs(self, images: Float64[np.ndarray, "n channels side side"]) -> Float64[np.ndarray, "n classes"]:
        """One number per class, the largest of which is the label."""
        x = averaged(images, RETINA).reshape(len(images), -1) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]


@dataclass(frozen=True, kw_only=True)
class Teacher(Family):
    """Labels that a random network gives to smooth random fields. [ours]"""

    name = "teacher"

    depth: int = integers(0, 3, "hidden layers of the teacher")
    width: int = integers(4, 64, "units in each of them", log=True)
    sharpness: float = log_uniform(0.5, 3.0, "standard deviation of what enters its units: the larger, the less linear")
    exponent: float = uniform(0.5, 4.0, "spectral exponent of the fields: the larger, the smoother")
    colour: float = uniform(0.0, 1.0, "how much channels differ: 0 is grey")
    label_noise: float = uniform(0.0, 0.3, "share of labels, of both parts, that are drawn at random instead")

    def world(self, draw: np.random.Generator) -> Network:
        """A teacher whose biases give every class about as many fields."""
        sizes = [self.channels * RETINA**2, *[self.width] * self.depth, self.classes]
        weights, biases = [], []
        seen = field(draw, (BALANCING[0], self.channels), RETINA, self.exponent, self.colour)
        scale = float(seen.std())
        x = reached = seen.reshape(len(seen), -1) / scale
        for inputs, outputs in pairwise(sizes):
            weight = draw.standard_normal((inputs, outputs))
            weights.append(weight * (self.sharpness / (x @ weight).std(0)))
            reached = x @ weights[-1]
            biases.append(-reached.mean(0))
            x = np.tanh(reached + biases[-1])
        return Network(weights, [*biases[:-1], _balanced(reached)], scale)

    def stimuli(self, world: Network, count: int, pixels: int, draw: np.random.Generator) -> Labelled:
        """Fields, and what the teacher says of them."""
        images = field(draw, (count, self.channels), pixels, self.exponent, self.colour)
        said = world.outputs(images).argmax(1)
        guessed = draw.integers(0, self.classes, count)
        return images, np.where(draw.random(count) < self.label_noise, guessed, said)


def _balanced(reached: Float64[np.ndarray, "n classes"]) -> Float64[np.ndarray, " classes"]:
    """Biases with which every class is the largest about equally often: the larger class gives way, ever less."""
    n, classes = reached.shape
    bias = -reached.mean(0)
    for turn in range(BALANCING[1]):
        counts: Int64[np.ndarray, " classes"] = np.bincount((reached + bias).argmax(1), minlength=classes)
        bias = bias - reached.std() * (counts * classes / n - 1) * 0.5 / (1 + 0.2 * turn)
    return bias
