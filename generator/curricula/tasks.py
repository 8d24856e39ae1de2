"""The registry of tasks, and what a task is: labelled stimuli with a training and a test part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int64

from generator.curricula import digits, photos
from generator.errors import unknown
from generator.keys import stream


@dataclass(frozen=True)
class TaskInfo:
    """What is known of a task before its data is read.

    Args:
        sides: side lengths in pixels at which it can be had, the native one first.
        load: `load(pixels)` gives images and labels of the training part and of the test part.
    """

    channels: int
    classes: int
    train: int
    test: int
    sides: tuple[int, ...]
    load: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


TASKS: dict[str, TaskInfo] = {
    "digits": TaskInfo(1, 10, 1400, 397, (8, 16), digits.load),
    "photos": TaskInfo(3, 8, 1400, 512, (16, 8), photos.load),
}


@dataclass(frozen=True)
class Task:
    """A task's data, standardised to zero mean and unit variance over the training part.

    The test part stands in the fixed permutation of which the probe set is the beginning.
    """

    train_x: Float32[np.ndarray, "train channels side side"]
    train_y: Int64[np.ndarray, " train"]
    test_x: Float32[np.ndarray, "test channels side side"]
    test_y: Int64[np.ndarray, " test"]


def info(name: str) -> TaskInfo:
    """A task's description. Raises RequestError, listing the known ones, for an unknown name."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


@lru_cache(maxsize=4)
def load(name: str, pixels: int) -> Task:
    """Read a task's data at a side length in pixels. The same for every network, whatever its seeds."""
    train_x, train_y, test_x, test_y = info(name).load(pixels)
    mean, std = train_x.mean(dtype=np.float64), train_x.std(dtype=np.float64)
    train_x, test_x = ((x - mean) / std for x in (train_x, test_x))
    order = stream("probe", name).permutation(len(test_y))
    return Task(train_x.astype("f4"), train_y.astype("i8"), test_x[order].astype("f4"), test_y[order].astype("i8"))
