"""The registry of tasks, and a task's data as networks see it: standardised, the test part in its fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from generator import plugins
from generator.curricula import digits, families, photos, surfaces, words
from generator.curricula.pinned import shown
from generator.curricula.recent import recent
from generator.curricula.stimuli import Part, Resident, Standardised, TaskInfo, in_memory
from generator.errors import RequestError, unknown
from generator.keys import stream

TASKS: dict[str, TaskInfo] = {
    "digits": TaskInfo(1, 10, 1400, 397, (8, 16, 32), in_memory(digits.load), meaning="handwritten digits, grey"),
    "photos": TaskInfo(
        3,
        8,
        1400,
        512,
        (16, 8, 32),
        in_memory(photos.load),
        meaning="which of eight photographs a colour patch comes from",
    ),
    "surfaces": TaskInfo(
        1,
        8,
        1400,
        512,
        (16, 8, 32),
        in_memory(surfaces.load),
        meaning="which of eight grey pictures of surfaces a patch comes from",
    ),
    "words": TaskInfo(
        1,
        8,
        1400,
        512,
        (32, 16),
        in_memory(words.load),
        meaning="which word a synthetic voice says in noise, on cochleagrams",
    ),
}
NUMBERED = {
    f"{name}:<number>": family for name, family in families.FAMILIES.items()
}  # tasks without end; see families/
SOURCES = ("hub:", "folder:")  # what names of other data begin with; see hub.py
SMALL = 1 << 30  # bytes up to which a training part is held in memory, and on the device
GLANCE = 8  # training stimuli, evenly spaced, that a run looks at before it starts
HELD = 256 << 20  # bytes up to which data is kept for the next cohort; the last four tasks are, whatever their size
SAMPLE = 2048  # training stimuli from which a larger one is standardised


plugins.taken_by(
    "TASKS", lambda name, thing: plugins.add(TASKS, name, thing, isinstance(thing, TaskInfo), "a TaskInfo")
)


@dataclass(frozen=True)
class Task:
    """A task's data, standardised to zero mean and unit variance over the training part, or a sample of a large one."""

    train: Part
    test: Part
    order: np.ndarray  # the fixed permutation of the test part of which the probe set is the beginning


@lru_cache(maxsize=4096)
def info(name: str, where: str = "") -> TaskInfo:
    """A task's description. Raises RequestError, listing the known ones, for an unknown name; `where` is where it stands."""
    if name.startswith(SOURCES):
        from generator.curricula import hub

        return hub.info(name)
    if task := families.drawn(name, where):
        return families.info(task)
    if name not in TASKS:
        raise unknown("task", name, [*TASKS, *NUMBERED, "hub:<dataset>", "folder:<path>"], where)
    return TASKS[name]


def parameters(name: str) -> dict[str, float | int]:
    """What was drawn for a task of a family, mixture:17; nothing for any other. Makes no data."""
    task = families.drawn(name)
    return task.parameters() if task else {}


def pinned(name: str, base: Path = Path()) -> str:
    """A task's name and, of data that did not come with Rulescope, what is found of it now (pinned.py).

    `base` is what a folder's path is relative to. Raises RequestError if the data has to be there and is not.
    """
    if name.startswith(SOURCES):
        from generator.curricula import hub

        return hub.pinned(name, base)
    return name


def identity(name: str) -> str:
    """What a task is, wherever its data lies."""
    if name.startswith(SOURCES):
        from generator.curricula import hub

        return hub.identity(name)
    return name


def check(name: str, pixels: int) -> None:
    """Raise RequestError, with one sentence, if a task's data is missing, or not what it should be at first sight."""
    about = info(name)
    if sentence := about.missing():
        raise RequestError(sentence)
    if name.startswith(SOURCES):
        train, test = about.open(pixels)
        test.read(np.arange(1))
        seen = train.read(np.unique(np.linspace(0, about.train - 1, GLANCE).astype(int)))
        if seen.min() == seen.max():
            load(name, pixels)


def _bytes(task: Task) -> int:
    return sum(part.images.nbytes for part in (task.train, task.test) if isinstance(part, Resident))


@recent(4, HELD, _bytes)
def load(name: str, pixels: int) -> Task:
    """Read a task's data at a side length in pixels. The same for every network, whatever its seeds.

    Raises RequestError for data that cannot be read, or of which all numbers are the same.
    """
    about = info(name)
    train, test = about.open(pixels)
    small = 4 * about.train * about.channels * pixels**2 <= SMALL
    if small:
        train, test = (part if isinstance(part, Resident) else _resident(part) for part in (train, test))
    some = np.arange(about.train) if small else stream("standardise", identity(name)).permutation(about.train)[:SAMPLE]
    seen = train.images if isinstance(train, Resident) else train.read(some)
    if seen.min() == seen.max():
        raise RequestError(
            f"every number of every stimulus of {shown(name)} is {seen.min():.3g}: there is nothing to learn"
        )
    mean, std = float(seen.mean(dtype=np.float64)), float(seen.std(dtype=np.float64))
    scaled = [
        Resident(((part.images - mean) / std).astype("f4"), part.labels)
        if isinstance(part, Resident)
        else Standardised(part, mean, std)
        for part in (train, test)
    ]
    return Task(scaled[0], scaled[1], stream("probe", identity(name)).permutation(len(test.labels)))


def _resident(part: Part) -> Resident:
    return Resident(part.read(np.arange(len(part.labels))), part.labels)
