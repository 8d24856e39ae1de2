"""What a kind of cluster has to provide: a site, which is a table of a spec or of a file of its own, and its pool of workers.

A new kind is a file in this folder and a line in `site.py`.
"""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StrictBool, StrictStr

from generator.clusters import quiet
from generator.errors import RequestError
from generator.toml import Table

if TYPE_CHECKING:
    from dask.distributed import Client

DEVICES = ("auto", "cpu", "cuda")
LOST = "the Dask scheduler is gone; the same command goes on where this run stopped"

Say = Callable[[str], None]

RECOUNT_SECONDS = 5.0  # between two looks at how many workers there are
NOWHERE = "127.0.0.1:0"  # any free port that this machine alone can reach


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


def _word(text: str) -> str:
    if not re.fullmatch(r"[\w.,:@%+/-]+", text) or text.startswith("-"):
        raise ValueError("must be one word of letters, digits and . , : @ % + / _ -")
    return text


def check_folder(text: str) -> str:
    """A folder that a job script can name. Raises ValueError, in words, for another."""
    _line(text)
    if bad := [part for part in ('"', "\\", "`", "$(", "%") if part in text]:
        raise ValueError(f"cannot have {' '.join(bad)} in it, which means something else to the shell or to Slurm")
    return text


Text = Annotated[StrictStr, Field(min_length=1), AfterValidator(_line)]
Word = Annotated[StrictStr, AfterValidator(_word)]
Folder = Annotated[Text, AfterValidator(check_folder)]


@dataclass
class Pool:
    """Workers to submit to.

    Attributes:
        most: how many there may be; None where those that are there are all.
        refusals: why none comes, a sentence each.
        dashboard: where Dask shows what they do; empty if it does not.
        waiting: the jobs that wait in a queue, of the number of workers that are there.
    """

    client: Client
    most: int | None = None
    refusals: Sequence[str] = ()
    dashboard: str = ""
    waiting: Callable[[int], int] = lambda present: 0
    _present: int = 0
    _counted: float = -RECOUNT_SECONDS

    def present(self) -> int:
        """How many workers there are, counted now and then."""
        if time.monotonic() - self._counted >= RECOUNT_SECONDS:
            with suppress(OSError):  # the scheduler is gone: its futures say so
                self._present, self._counted = len(self.client.nthreads()), time.monotonic()
        return self._present

    def places(self) -> int:
        """How many there are, or may be."""
        return self.present() if self.most is None else self.most

    def crew(self) -> str:
        """Who works, in words: "3 workers, 2 jobs waiting"."""
        present = self.present()
        words = f"{present:,} worker{'s' * (present != 1)}"
        if waiting := self.waiting(present):
            words += f", {waiting:,} job{'s' * (waiting != 1)} waiting"
        return words

    def check(self) -> None:
        """Raises RequestError if it is no use to wait: the scheduler is gone, or there is no worker and none will come."""
        if self.client.status not in ("running", "connecting"):
            raise RequestError(LOST)
        if self.refusals and not self.client.nthreads():
            raise RequestError(self.refusals[-1])


class Site(Table):
    """Where cohorts run. Not to be changed."""

    kind: str

    @property
    def inside(self) -> bool:
        """Whether it is this process itself."""
        return False

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return False

    def sized(self, workers: int) -> Site:
        """The same with so many workers. Raises RequestError where that is not for this to say."""
        raise RequestError(f"--workers is for a local run; with a cluster of kind {self.kind!r}, {self.how_many}")

    @property
    def how_many(self) -> str:
        """What says how many workers there are, in words."""
        return "it has its own"

    @abstractmethod
    def device(self, asked: str, say: Say) -> str:
        """`cuda` or `cpu`: what its workers train on, asked for that or "auto". Raises RequestError if they cannot."""

    def settings(self, device: str) -> dict[str, Any]:
        """Dask's settings that it needs."""
        return {}

    @abstractmethod
    def open(self, device: str, most: int, say: Say, stack: ExitStack) -> Pool:
        """Its workers, until the stack is left; `most`: that there is work for. Raises RequestError if they cannot be had."""

    def suited(self, device: str, seconds: float) -> Site:
        """The same for a run of so many seconds of one core."""
        return self

    @abstractmethod
    def at_once(self, device: str) -> int:
        """How many cohorts would be trained at once."""

    @abstractmethod
    def described(self, device: str) -> list[str]:
        """The site in words, and the job script if it has one."""

    @property
    def missing(self) -> str:
        """Where to look if no worker comes, in words."""
        return "they come from where the cluster was started"


class Started(Site):
    """A site whose scheduler runs here, in the process of the run.

    Args:
        dashboard: show what workers do on a page, which whoever is logged in on this machine may see, too.
    """

    dashboard: StrictBool = False

    def scheduler(self) -> dict[str, Any]:
        """Options of its scheduler. Raises RequestError if a dashboard was asked for, and what draws it is not installed."""
        if self.dashboard and find_spec("bokeh") is None:
            raise RequestError("the dashboard is drawn by bokeh, which is not installed: pip install bokeh")
        quietly = {} if self.dashboard else {"preload": [quiet.__name__]}
        return {"dashboard": self.dashboard, "dashboard_address": NOWHERE, **quietly}

    def page(self, cluster: Any) -> str:
        """Where its dashboard is; empty if there is none."""
        host = NOWHERE.split(":")[0]
        return f"http://{host}:{cluster.scheduler.http_server.port}/status" if self.dashboard else ""
