"""Independent computations on the same data: in joblib's threads in this process, or as Dask's tasks on a cluster's workers.

joblib has a Dask backend, too, and this began with it. It waits forever for a task that killed its workers, computes in this
process when there is a single worker, and loses what all calls share between two rounds of calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from joblib import Parallel, delayed
from rich.progress import track
from threadpoolctl import threadpool_limits

from generator.clusters import pool as clusters
from generator.clusters import site as sites
from generator.console import Shown
from generator.cores import cores
from generator.errors import RequestError

FALSE_ALARM = "`sklearn.utils.parallel.delayed` should be used"
FAILURES = 3  # deaths of workers after which a computation is given up
MOST = 10**6  # workers that would find something to do
DAY = 86400.0

_client: ContextVar[Any] = ContextVar("client", default=None)
_inside: ContextVar[bool] = ContextVar("inside", default=False)  # a call that `here` or a cluster's worker makes


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
    if site.here:
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
        except (KilledWorker, CancelledError, asyncio.CancelledError, CommClosedError) as error:
            if pool.client.status != "running":
                raise RequestError("the Dask scheduler is gone") from error
            raise RequestError(
                "workers died of the same computation again and again (out of memory, or killed)"
            ) from error
        except Exception as error:
            if clusters.lacks_code(error):
                raise RequestError(f"{error}: install Rulescope where the scheduler and the workers run") from error
            raise
        finally:
            _client.reset(token)


def parallel(function: Callable[..., Any], shared: object, calls: Sequence[tuple[Any, ...]], title: str) -> list[Any]:
    """What `function(shared, *arguments)` returns for each call's arguments, in order, with a progress bar.

    Each call computes single-threaded. On a cluster `shared` travels once to every worker.
    """
    if client() is not None:
        return _watched(_elsewhere(function, shared, calls), len(calls), title)
    return _watched(here(function, ((shared, *each) for each in calls)), len(calls), title)


def here(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """What `function(*arguments)` returns for each call's arguments, in order, by threads of this process: one for each core.

    Each call computes single-threaded. One that does so itself, inside another, is on its caller's thread.
    """
    threads = 1 if _inside.get() else cores()
    with threadpool_limits(1), _without_false_alarms():
        yield from Parallel(n_jobs=threads, prefer="threads", return_as="generator")(
            delayed(_one_of_many)(function, each) for each in calls
        )


def _one_of_many(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A call beside which others compute on the other cores."""
    token = _inside.set(True)
    try:
        return function(*arguments)
    finally:
        _inside.reset(token)


@contextmanager
def _without_false_alarms() -> Iterator[None]:
    """Forests that are trained in threads warn of nothing.

    scikit-learn's forests reset the filters of warnings for a moment, which all threads share: another one that looks just then
    finds none, and warns of a misuse that there is not. A filter alone is lost in the same way; what shows warnings is not.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", FALSE_ALARM, UserWarning)
        show = warnings.showwarning

        def shown(message: Warning | str, *about: Any, **more: Any) -> None:
            if not str(message).startswith(FALSE_ALARM):
                show(message, *about, **more)

        warnings.showwarning = shown
        yield


def _elsewhere(function: Callable[..., Any], shared: object, calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """On the cluster. If all workers that hold what is shared die it is sent again, and what is missing computed."""
    from concurrent.futures import CancelledError

    done = tries = 0
    while done < len(calls):
        everywhere = client().scatter(shared, broadcast=True, hash=False, timeout=DAY)
        futures = [client().submit(alone, function, everywhere, each, pure=False) for each in calls[done:]]
        try:
            for future in futures:
                yield future.result()
                done, tries = done + 1, 0
        except CancelledError:
            tries += 1
            if tries > FAILURES or client().status != "running":
                raise


def in_turn(function: Callable[..., Any], shared: object, calls: Sequence[tuple[Any, ...]], title: str) -> list[Any]:
    """The same, one call after the other in this thread: for those that use all workers themselves."""
    return _watched((function(shared, *arguments) for arguments in calls), len(calls), title)


def alone(function: Callable[..., Any], shared: object, arguments: tuple[Any, ...]) -> Any:
    """`function(shared, *arguments)` on one core, as workers of a cluster compute it."""
    with threadpool_limits(1):
        return _one_of_many(function, (shared, *arguments))


def _watched(results: Iterable[Any], total: int, title: str) -> list[Any]:
    console = Shown(stderr=True, force_jupyter=False)
    return list(track(results, title, total=total, console=console, transient=True, disable=not console.is_terminal))
