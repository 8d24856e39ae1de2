"""What a task is made of: parts of labelled stimuli, in memory or read when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # training images and labels, test images and labels


@runtime_checkable
class Part(Protocol):
    """The training or the test part of a task."""

    @property
    def labels(self) -> Int64[np.ndarray, " n"]:
        """Classes, from 0."""

    def read(self, index: Int64[np.ndarray, " m"]) -> Float[np.ndarray, "m channels side side"]:
        """The stimuli at `index`. Called from several threads at once."""


@dataclass(frozen=True)
class Resident:
    """A part that is held in memory."""

    images: Float[np.ndarray, "n channels side side"]
    labels: Int64[np.ndarray, " n"]

    def read(self, index: Int64[np.ndarray, " m"]) -> Float[np.ndarray, "m channels side side"]:
        """The stimuli at `index`."""
        return self.images[index]


@dataclass(frozen=True)
class Standardised:
    """Another part, each number less `mean` and divided by `std`."""

    part: Part
    mean: float
    std: float

    @property
    def labels(self) -> Int64[np.ndarray, " n"]:
        """Classes, from 0."""
        return self.part.labels

    def read(self, index: Int64[np.ndarray, " m"]) -> Float[np.ndarray, "m channels side side"]:
        """The standardised stimuli at `index`."""
        return (self.part.read(index) - np.float32(self.mean)) / np.float32(self.std)


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a task before its data is read.

    Args:
        sides: side lengths in pixels at which it can be had, the native one first; empty if at any.
        open: `open(pixels)` gives the training and the test part, as they are.
        missing: one sentence that says how to get the data, or "" if it is there. Quick; asked before anything starts.
        meaning: what is to be learned, in a line.
    """

    channels: int
    classes: int
    train: int
    test: int
    sides: tuple[int, ...]
    open: Callable[[int], tuple[Part, Part]]
    missing: Callable[[], str] = lambda: ""
    meaning: str = ""


def in_memory(load: Callable[[int], Arrays]) -> Callable[[int], tuple[Part, Part]]:
    """`TaskInfo.open` for a function that returns images and labels of the training and the test part."""

    def open_(pixels: int) -> tuple[Part, Part]:
        train_x, train_y, test_x, test_y = load(pixels)
        return Resident(train_x, train_y.astype("i8")), Resident(test_x, test_y.astype("i8"))

    return open_
