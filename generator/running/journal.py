"""What happened to each cohort, when and where: one JSON object per line, in `<dataset>/log/`, a file or more per run."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from generator.dataset.schema import DatasetError
from generator.dataset.storage import Dataset

LINES = 1000  # of a file, at most: each is written whole, as an object store demands
SECONDS = 30.0  # between two writes of a file that grows


class Journal:
    """The log of one run.

    Events: begun, done, failed, died (its worker), halved, lost (its result), anew (why it is made from the start), ended.
    """

    def __init__(self, dataset: Dataset) -> None:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self.dataset, self.name = dataset, f"log/{now}-{socket.gethostname()}-{os.getpid()}"
        self.lines: list[str] = []
        self.number, self.written = 0, time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(DatasetError):  # the storage fails: what led here says so
            self.flush()

    def write(self, event: str, **about: Any) -> None:
        """Add an event. What is still unwritten when the driver is killed is lost: the dataset's files do not depend on it."""
        self.lines.append(
            json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **about})
        )
        full = len(self.lines) >= LINES
        if full or time.monotonic() - self.written > SECONDS:
            self.flush()
        if full:
            self.lines, self.number = [], self.number + 1

    def flush(self) -> None:
        """Write what there is."""
        if self.lines:
            self.dataset.publish(f"{self.name}-{self.number}.jsonl", ("\n".join(self.lines) + "\n").encode())
        self.written = time.monotonic()
