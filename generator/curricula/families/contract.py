"""What a family of tasks has to provide: what varies from number to number, what its classes are, and stimuli of them.

Whatever is drawn is keyed by family and number. Classes are drawn once, in coordinates that know no resolution, so they are the
same at every side length; stimuli are drawn anew for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Float64, Int64

from generator.curricula.stimuli import Arrays
from generator.keys import stream

NUMBERS = 10**6  # tasks of a family
SIDES = (16, 8, 32)  # pixels, the native side first
Labelled = tuple[Float64[np.ndarray, "n channels side side"], Int64[np.ndarray, " n"]]

F = TypeVar("F", bound="Family")


class Law(NamedTuple):
    """How a parameter is drawn: evenly, or evenly in its logarithm, from `low` to `high`, both included where it is whole."""

    low: float
    high: float
    meaning: str
    whole: bool = False
    log: bool = False
    step: int = 1

    def draw(self, draw: np.random.Generator) -> float | int:
        """One value. Every law takes one number from the stream, so that none moves those after it."""
        low, high = (self.low, self.high + self.step) if self.whole else (self.low, self.high)
        share = draw.random()
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        return int(low) + int(value - low) // self.step * self.step if self.whole else float(value)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        between = " or " if self.whole and self.low + self.step == self.high else "–"
        return f"{self.low:g}{between}{self.high:g}{', log' if self.log else ''}"


def uniform(low: float, high: float, meaning: str) -> Any:
    """A parameter that is drawn evenly."""
    return field(metadata={"law": Law(low, high, meaning)})


def log_uniform(low: float, high: float, meaning: str) -> Any:
    """A parameter whose logarithm is drawn evenly."""
    return field(metadata={"law": Law(low, high, meaning, log=True)})


def integers(low: int, high: int, meaning: str, *, log: bool = False, step: int = 1) -> Any:
    """A whole parameter; `step` is the distance between neighbours."""
    return field(metadata={"law": Law(low, high, meaning, whole=True, log=log, step=step)})


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """One task of a family: its fields are what is drawn from its number, in their order; new ones go to the end.

    The first sentence of a family's docstring is what `rulescope names tasks` prints.
    """

    name: ClassVar[str]
    test: ClassVar[int] = 512

    number: int
    classes: int = integers(2, 12, "classes")
    channels: int = integers(1, 3, "colour channels", step=2)
    train: int = integers(600, 2000, "training stimuli", log=True)

    @classmethod
    def laws(cls) -> dict[str, Law]:
        """The law of every parameter."""
        return {one.name: one.metadata["law"] for one in fields(cls) if "law" in one.metadata}

    @classmethod
    def draw(cls: type[F], number: int) -> F:
        """The task of a number. Makes no data."""
        draw = stream("task", cls.name, number)
        drawn: dict[str, Any] = {name: law.draw(draw) for name, law in cls.laws().items()}
        return cls(number=number, **drawn)

    def parameters(self) -> dict[str, float | int]:
        """What was drawn."""
        return {name: getattr(self, name) for name in self.laws()}

    def load(self, pixels: int) -> Arrays:
        """Images (n, channels, pixels, pixels) and labels of the training and the test part."""
        return tuple(array for part in self.parts(pixels) for array in part)  # type: ignore[return-value]

    def parts(self, pixels: int) -> Iterator[Labelled]:
        """The training and the test part."""
        world = self.world(stream("task", self.name, self.number, "classes"))
        for part, count in (("train", self.train), ("test", self.test)):
            draw = stream("task", self.name, self.number, part, pixels)
            yield self.stimuli(world, count, pixels, draw)

    def labels(self, count: int, draw: np.random.Generator) -> Int64[np.ndarray, " count"]:
        """Classes of stimuli, each as often as the others (± 1), in random order."""
        return draw.permutation(np.arange(count) % self.classes)

    @abstractmethod
    def world(self, draw: np.random.Generator) -> Any:
        """What the classes are, at any side length."""

    @abstractmethod
    def stimuli(self, world: Any, count: int, pixels: int, draw: np.random.Generator) -> Labelled:
        """Images of the classes, and their labels."""

    @staticmethod
    def reading(images: Float[np.ndarray, "n channels side side"]) -> Float[np.ndarray, "n features"]:
        """What the reference accuracy's linear read-out is given (reference.py): the pixels."""
        return images.reshape(len(images), -1)
