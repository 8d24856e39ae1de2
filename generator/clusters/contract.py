"""What a kind of cluster has to provide: a site, which is a table of a spec or of a file of its own, and its pool of workers.

A new kind is a file in this folder and a line in `site.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictStr

from generator.errors import RequestError
from generator.toml import Table

if TYPE_CHECKING:
    from dask.distributed import Client

DEVICES = ("auto", "cpu", "cuda")
LOST = "the Dask scheduler is gone; the same command goes on where this run stopped"

Text = Annotated[StrictStr, Field(min_length=1)]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Pool:
    """Workers to submit to. `workers`: how many there are, or may be; `refusals`: why none comes, a sentence each."""

    client: Client
    workers: Callable[[], int]
    refusals: Sequence[str] = ()

    def check(self) -> None:
        """Raises RequestError if it is no use to wait: the scheduler is gone, or there is no worker and none will come."""
        if self.client.status not in ("running", "connecting"):
            raise RequestError(LOST)
        if self.refusals and not self.client.nthreads():
            raise RequestError(self.refusals[-1])

    @property
    def dashboard(self) -> str:
        """Where Dask shows what they do; empty if it cannot (that takes the package bokeh)."""
        try:
            import bokeh  # noqa: F401
        except ImportError:
            return ""
        return str(self.client.dashboard_link or "")


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

    @abstractmethod
    def open(self, device: str, most: int, stack: ExitStack) -> Pool:
        """Its workers, until the stack is left; `most`: that there is work for. Raises RequestError if they cannot be had."""

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
