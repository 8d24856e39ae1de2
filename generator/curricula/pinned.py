"""A data set as it was found: its name, what networks need to know of it, and a fingerprint of its files.

As text, `folder:/data/birds#3-2-40-12-0123456789abcdef`, it takes the place of the name in a dataset's spec and on the way to
workers. So whoever has it needs the data only to read stimuli, caches tell data that has changed from what it was, and
a network is the same wherever its data lies.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from generator.curricula.decoding import reading
from generator.errors import RequestError

WHOLE = 256 << 20  # bytes of contents that a fingerprint reads; of a larger set it reads evenly spaced files


class Pinned(NamedTuple):
    """`name`: where it is; then the channels, classes and numbers of stimuli of a `TaskInfo`."""

    name: str
    channels: int
    classes: int
    train: int
    test: int
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.name}#{'-'.join(map(str, self[1:]))}"

    @classmethod
    def of(cls, text: str) -> Pinned | None:
        """What a text says; None for a name alone."""
        found = re.fullmatch(r"(.+)#(\d{1,9})-(\d{1,9})-(\d{1,9})-(\d{1,9})-([0-9a-f]{16})", text, re.DOTALL)
        return cls(found[1], int(found[2]), int(found[3]), int(found[4]), int(found[5]), found[6]) if found else None


def shown(name: str) -> str:
    """A name as its user knows it."""
    pin = Pinned.of(name)
    return pin.name if pin else name


def fingerprint(root: Path, files: Sequence[str], whole: int = WHOLE) -> str:
    """A hash of names, relative to `root`, of sizes, and of contents: all, or those of evenly spaced files, about `whole` bytes.

    Raises RequestError for what is no file, or cannot be read.
    """
    sizes = [size(file) for file in files]
    every = max(1, -(-sum(sizes) // whole))
    found = hashlib.blake2b(digest_size=8)
    for place, (file, count) in enumerate(zip(files, sizes, strict=True)):
        found.update(b"%b\0%d\0" % (os.fsencode(os.path.relpath(file, root)), count))
        if place % every == 0:
            with reading(file), open(file, "rb") as opened:
                found.update(hashlib.file_digest(opened, "blake2b").digest())
    return found.hexdigest()


def size(file: str) -> int:
    """Its bytes. Raises RequestError unless it is a file: of a pipe nobody knows when something comes."""
    with reading(file):
        about = os.stat(file)
    if not stat.S_ISREG(about.st_mode):
        raise RequestError(f"{file} is no file, but a folder, a pipe or a device")
    return about.st_size
