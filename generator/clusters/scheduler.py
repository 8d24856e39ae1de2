"""`scheduler`: the workers of a Dask scheduler that runs already."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generator.clusters import pool as pools
from generator.clusters import process
from generator.clusters.contract import Pool, Say, Site, Text
from generator.errors import RequestError
from generator.reach import within

if TYPE_CHECKING:
    from dask.distributed import Client

ADDRESS = r"(tcp|tls|ws|wss)://[\w.:%\[\]-]+:\d{1,5}"
ANSWER_SECONDS = 15.0  # that a scheduler has to answer who connects
ASKED = (0.0, 1.0, 5.0, 20.0)  # seconds after which the workers of a scheduler are asked, if none answered before


class Scheduler(Site):
    """A Dask scheduler that runs already, whatever started its workers; its security settings are Dask's own.

    Args:
        address: of it, such as tcp://node7:8786, or its scheduler file.
    """

    kind: Literal["scheduler"] = "scheduler"
    address: Text

    def device(self, asked: str, say: Say) -> str:
        """What all its workers have."""
        found = devices(self, say)
        if len(found) > 1 and asked == "auto":
            raise RequestError(
                f"some workers of {self.address} have a GPU and some have none: say --device cpu, or remove the latter"
            )
        has = "cuda" if found == {"cuda"} else "cpu"
        if asked == "cuda" and has == "cpu":
            raise RequestError(f"device 'cuda' was asked for, but not every worker of {self.address} has a GPU")
        return has if asked == "auto" else asked

    def at_once(self, device: str) -> int:
        """A cohort for each."""
        with connected(self) as client:
            return max(1, len(client.nthreads()))

    def described(self, device: str) -> list[str]:
        """How many workers it has."""
        with connected(self) as client:
            threads = client.nthreads()
        several = sum(count > 1 for count in threads.values())
        but = f"; {several} of them have several threads, of which one is used" if several else ""
        return [f"cluster: the scheduler {self.address}, which has {len(threads)} workers{but}"]

    def open(self, device: str, most: int, say: Say, stack: ExitStack) -> Pool:
        """Connect to it."""
        log = logging.getLogger("distributed.client")  # it has pages to say of a lost scheduler
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)
        client, page = stack.enter_context(connected(self)), ""
        with suppress(KeyError):  # of a link for which something is not set here
            page = str(client.dashboard_link or "")
        return Pool(client, dashboard=page)


def connected(site: Scheduler) -> Client:
    """A client of a running scheduler. Raises RequestError if it does not answer."""
    from dask.distributed import Client

    address = located(site.address)
    try:
        with process.uninterrupted():
            _check(address)
            return Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # the latter for a TLS address without TLS settings
        raise RequestError(f"no Dask scheduler answers at {site.address}: {error}") from error


def _check(address: str) -> None:
    """Raises OSError if no scheduler answers in time. A client would wait for ever for what takes connections and is silent."""
    from distributed import Security
    from distributed.core import rpc

    async def ask() -> None:
        async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
            await scheduler.identity()

    try:
        within(ANSWER_SECONDS, lambda: asyncio.run(ask()))  # Dask does not let itself be interrupted in this
    except (TimeoutError, MemoryError) as error:  # read as Dask's, another protocol's words announce exabytes
        raise OSError("what is there is silent, or something else") from error


def located(address: str) -> str:
    """A scheduler's address, from its file if that was named. Raises RequestError if it is none."""
    found: object = address
    if address.endswith(".json"):
        if not os.path.isfile(address):
            raise RequestError(f"there is no scheduler file {address}: no scheduler that wrote it is running")
        try:
            found = json.loads(Path(address).read_bytes())["address"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RequestError(f"{address} is not a scheduler file: `dask scheduler` writes them") from error
    if not isinstance(found, str) or not re.fullmatch(ADDRESS, found):
        raise RequestError(f"{found!r} is no address of a Dask scheduler, such as tcp://node7:8786 or tls://node7:8786")
    return found


def devices(site: Scheduler, say: Say = lambda text: None) -> set[str]:
    """The devices, "cuda" or "cpu", that the workers of a scheduler have; waits for the first of them, and says so.

    Raises:
        RequestError: the scheduler does not answer, or no worker does, or Rulescope is not installed where they run.
    """
    from concurrent.futures import CancelledError

    for seconds in ASKED:  # workers may die, or a connection break, just then
        time.sleep(seconds)
        try:
            found = _ask(site, say)
        except (OSError, CancelledError) as lost:
            why = f"the scheduler {site.address} was there, and is gone: {lost}"
            continue
        for error in found:
            if isinstance(error, AttributeError) or pools.lacks_code(error):
                raise RequestError(
                    f"{site.address}: the scheduler or its workers cannot import Rulescope: {error}; install it there"
                ) from error
        if answers := {device for device in found if isinstance(device, str)}:
            return answers
        why = f"no worker of {site.address} answers"
    raise RequestError(why)


def _ask(site: Scheduler, say: Say) -> list[Any]:
    """Each worker's device, or why it does not answer."""
    with connected(site) as client:
        found = []
        if not client.nthreads():
            say(f"waiting for a worker of {site.address}")
            found = [client.submit(_device, pure=False).exception()]  # an adaptive cluster starts workers for a task
        return [*found, *client.run(_device, on_error="return").values()]


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
