"""Families of tasks without end: a task's parameters follow from its number, and nothing in it is real data."""

from __future__ import annotations

import re

from generator.curricula.families.contract import NUMBERS, SIDES, Family
from generator.curricula.families.mixture import Mixture
from generator.curricula.families.sequence import Sequence
from generator.curricula.families.teacher import Teacher
from generator.curricula.families.texture import Texture
from generator.curricula.stimuli import TaskInfo, in_memory
from generator.errors import RequestError

FAMILIES: dict[str, type[Family]] = {one.name: one for one in (Mixture, Teacher, Texture, Sequence)}


def drawn(name: str, where: str = "") -> Family | None:
    """The task of a name such as mixture:17; None if no family is named. Raises RequestError for what is no number of a task."""
    family, _, number = name.partition(":")
    if family not in FAMILIES:
        return None
    if not re.fullmatch(r"0|[1-9][0-9]{0,5}", number):
        place = f" in {where}" if where else ""
        raise RequestError(
            f"task {name!r}{place}: the tasks of {family} are numbered from {family}:0 to {family}:{NUMBERS - 1}, "
            "in digits alone and without leading zeros"
        )
    return FAMILIES[family].draw(int(number))


def info(task: Family) -> TaskInfo:
    """Its description. Makes no data."""
    found = in_memory(task.load)
    return TaskInfo(task.channels, task.classes, task.train, task.test, SIDES, found)
