"""Independent computations on the same data: in threads of this process, or on a cluster's workers by joblib's Dask backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from joblib import Parallel, delayed, parallel_config
from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_limits

from generator import cluster as clusters
from generator import site as sites
from generator.errors import RequestError

FAILURES = 3  # deaths of workers after which a computation is given up
MOST = 10**6  # workers that would find something to do
DAY = 86400.0

_client: ContextVar[Any] = ContextVar("client", default=None)


def client() -> Any:
    """The Dask client of the cluster that computes here; None for this process."""
    return _client.get()


@contextmanager
def on(cluster: str | None, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Within this context `parallel` computes on a cluster.

    Args:
        cluster: as `rulescope generate --cluster` names it; None, or anything local: this process.
        say: told if no worker comes.

    Raises:
        RequestError: nothing answers to that name, or the workers cannot be had, are lost, or lack Rulescope.
    """
    site = sites.choose(cluster, None)
    if isinstance(site, sites.Local):
        yield
        return
    import asyncio
    from concurrent.futures import CancelledError

    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker

    with clusters.opened(site, "cpu", MOST, say, FAILURES) as pool:
        token = _client.set(pool.client)
        try:
            with pool.client.as_current():  # which xgboost asks for
                yield
        except ImportError as error:
            raise RequestError(
                f"a worker cannot import what it needs: {error}; install Rulescope where workers run"
            ) from error
        except KilledWorker as error:
            raise RequestError(
                f"{FAILURES + 1} workers died of the same computation (out of memory, or killed)"
            ) from error
        except (CancelledError, asyncio.CancelledError, CommClosedError) as error:
            raise RequestError("the Dask scheduler is gone, or the workers that held the data are") from error
        finally:
            _client.reset(token)


def parallel(function: Callable[..., Any], shared: object, calls: Sequence[tuple[Any, ...]], title: str) -> list[Any]:
    """What `function(shared, *arguments)` returns for each call's arguments, in order, with a progress bar.

    Each call computes single-threaded. On a cluster `shared` travels once to every worker.
    """
    with ExitStack() as stack:
        if client() is None:
            stack.enter_context(threadpool_limits(1))
            workers = Parallel(n_jobs=os.cpu_count(), prefer="threads", return_as="generator")
            results = workers(delayed(function)(shared, *arguments) for arguments in calls)
        else:
            # not by joblib, whose key for it depends on its content: what is given up would be asked for again
            everywhere = client().scatter(shared, broadcast=True, hash=False, timeout=DAY)
            stack.enter_context(parallel_config("dask", client=client(), wait_for_workers_timeout=DAY))
            workers = Parallel(n_jobs=-1, pre_dispatch="all", return_as="generator")
            results = workers(delayed(_alone)(function, everywhere, arguments) for arguments in calls)
        return _watched(results, len(calls), title)


def in_turn(function: Callable[..., Any], shared: object, calls: Sequence[tuple[Any, ...]], title: str) -> list[Any]:
    """The same, one call after the other in this thread: for those that use all workers themselves."""
    return _watched((function(shared, *arguments) for arguments in calls), len(calls), title)


def _alone(function: Callable[..., Any], shared: object, arguments: tuple[Any, ...]) -> Any:
    with threadpool_limits(1), parallel_config("sequential"):  # else estimators would hand their parts to Dask again
        return function(shared, *arguments)


def _watched(results: Iterable[Any], total: int, title: str) -> list[Any]:
    return list(track(results, title, total=total, console=Console(stderr=True), transient=True))
