"""One driver per dataset: whoever makes it says so in `driver.json`, again and again, until done.

A second one that finds a fresh sign of life says who holds the dataset; a stale one, left by a driver that was killed, is taken
over. Should two hold it all the same (a driver that was paused for minutes), cohorts are idempotent and nothing is lost; the one
that was taken over from notices, and stops.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from generator.dataset.storage import Dataset
from generator.errors import RequestError

FILE = "driver.json"
BEAT = 10.0  # seconds between two signs of life
STALE = 90.0  # seconds without one after which a driver counts as dead, wherever it ran


class Hold:
    """A context in which this process alone drives a dataset.

    Args:
        instead: what else than to wait for another driver, or to stop it, a person can do.

    Raises:
        RequestError: on entering, if another driver lives; from `check`, if another one took over meanwhile.
    """

    def __init__(self, dataset: Dataset, instead: str = ", or give this run another --out") -> None:
        self.dataset, self.instead, self.token = dataset, instead, uuid.uuid4().hex
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Hold:
        while not self.dataset.create(FILE, self._sign()):
            if held := living(self.dataset):
                raise RequestError(
                    f"{self.dataset} is being made by process {held['pid']} on {held['host']}, alive "
                    f"{max(0.0, time.time() - held['at']):.0f} s ago: wait for it or stop it{self.instead}"
                )
            self.dataset.remove(FILE)
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.thread.join()
        if self._mine():
            self.dataset.remove(FILE)

    def check(self) -> None:
        """Raise RequestError if another driver has taken over."""
        if self._others():
            raise RequestError(f"another run has taken over {self.dataset} while this one was silent; this one stops")

    def _renew(self) -> None:
        while not self.over.wait(BEAT):
            try:
                if not self._others():
                    self.dataset.publish(FILE, self._sign())
            except (RequestError, OSError):  # a file system that is away for a while; the work itself will say so
                continue

    def _sign(self) -> bytes:
        about = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}
        return json.dumps(about).encode()

    def _others(self) -> bool:
        """Whether the file is another's; one that cannot be read, or was removed, is nobody's."""
        return self.dataset.read_json(FILE).get("token", self.token) != self.token

    def _mine(self) -> bool:
        return self.dataset.read_json(FILE).get("token") == self.token


def living(dataset: Dataset) -> dict[str, Any]:
    """The sign of the driver that makes a dataset, if it lives, as far as can be seen from here; else nothing."""
    held, written = dataset.read_json(FILE), dataset.stamp(FILE)
    return held if written and _alive(held, written[0] / 1e9) else {}


def _alive(held: Mapping[str, Any], written: float) -> bool:
    kinds = {"token": str, "host": str, "pid": int, "at": int | float}
    if not all(isinstance(held.get(name), kind) for name, kind in kinds.items()):
        return False
    if not abs(time.time() - min(held["at"], written)) <= STALE:  # its clock may be ahead, the storage's says so
        return False
    if held["host"] != socket.gethostname():
        return True
    try:
        os.kill(held["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it lives, and belongs to somebody else
        return True
    return True
