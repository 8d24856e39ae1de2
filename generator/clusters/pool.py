"""Workers, through Dask, one cohort each at a time: opened at a site, with what Dask has to be told of such work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from generator.clusters import process
from generator.clusters.contract import Pool, Say, Site

if TYPE_CHECKING:
    from dask.distributed import Client

TASK = "cohort"  # the name of its tasks to Dask
CONNECT_SECONDS = 30.0
MISSED_SECONDS = 60.0  # without any worker, before that is said

CONFIG: dict[str, Any] = {
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS:g}s",
    "distributed.scheduler.default-task-durations": {TASK: "1h"},  # a worker for each, from the beginning
    "distributed.worker.profile.enabled": False,  # sampling every 10 ms takes the GIL and grows without end
}


@contextmanager
def opened(site: Site, device: str, most: int, say: Say = lambda text: None, failures: int = 0) -> Iterator[Pool]:
    """A site's workers.

    Args:
        device: "cpu" or "cuda".
        most: workers that there is work for.
        say: told if none comes for a while.
        failures: deaths of workers that Dask itself makes good, by giving the task to another one.

    Raises:
        RequestError: they cannot be had.
    """
    with process.uninterrupted():  # Python ends as if Ctrl-C had killed it, if that comes while a library is imported
        import dask
        import distributed  # noqa: F401  (its defaults come before what is set here)

    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        private = stack.enter_context(TemporaryDirectory(prefix="rulescope-", ignore_cleanup_errors=True))
        own = {"distributed.scheduler.allowed-failures": failures, "temporary-directory": private}
        stack.enter_context(dask.config.set(site.settings(device) | CONFIG | own))
        pool = site.open(device, most, say, stack)
        stack.enter_context(_missed(site, pool.client, say))
        yield pool


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C while Dask is asked for something, and before it has begun, is Ctrl-C alone.

    Dask would cancel what it has not begun (`distributed.utils.sync`), and its event loop would log that as an error.
    """

    def is_one(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, NameError) and error.name == "future")

    log = logging.getLogger("tornado.application")
    log.addFilter(is_one)
    try:
        yield
    finally:
        log.removeFilter(is_one)


@contextmanager
def _missed(site: Site, client: Client, say: Say) -> Iterator[None]:
    """Say so if no worker has come after a while."""

    def look() -> None:
        with suppress(OSError):  # the scheduler is gone: who waits for results hears of it
            if not client.nthreads():
                say(f"no worker has come for {MISSED_SECONDS:g} s; {site.missing}")

    timer = threading.Timer(MISSED_SECONDS, look)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def lacks_code(error: object) -> bool:
    """Whether an error from elsewhere says that something cannot be imported there."""
    return isinstance(error, ImportError) or isinstance(getattr(error, "__cause__", None), ImportError)
