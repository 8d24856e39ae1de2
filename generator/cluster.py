"""Where cohorts run: in this process, or on local Dask workers, one per core with one thread each.

The driver keeps a bounded number of cohorts in flight, so its memory and the scheduler's do not grow with the dataset.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any

from generator import process
from generator.work import Assignment, Receipt, work

IN_FLIGHT = 2  # cohorts per worker, so that none waits for the driver


def default_workers(device: str = "cpu") -> int:
    """One per core this process may use; a GPU has one, which its stacks are sized for."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(assignments: Sequence[Assignment], workers: int) -> Iterator[Receipt]:
    """Do the work and yield receipts as they come. `workers` 0 is this process."""
    if workers == 0 or not assignments:
        yield from map(work, assignments)
    else:
        yield from _on_local_workers(assignments, min(workers, len(assignments)))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Threads and processes started inside never see Ctrl-C, which a terminal sends to all; this one sees it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would lift the block when the first process starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _on_local_workers(assignments: Sequence[Assignment], workers: int) -> Iterator[Receipt]:
    import dask
    from dask.distributed import Client, LocalCluster, as_completed

    quiet: dict[str, Any] = {
        "distributed.nanny.pre-spawn-environ": process.environment(),
        "distributed.comm.timeouts.connect": "60s",
        "distributed.worker.profile.enabled": False,  # sampling every 10 ms takes the GIL and grows without end
    }
    with ExitStack() as opened:
        opened.enter_context(dask.config.set(quiet))
        with _deaf_to_interrupts():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address=":0",  # any free port: several runs share a machine
                silence_logs=50,
            )
            client = opened.enter_context(Client(opened.enter_context(cluster)))
        waiting = iter(assignments)
        first = [client.submit(work, each, pure=False) for each in islice(waiting, workers * IN_FLIGHT)]
        owner = dict(zip((future.key for future in first), assignments, strict=False))
        flying = as_completed(first)
        for future in flying:
            assignment = owner.pop(future.key)
            error = future.exception()
            if error is None:
                yield future.result()
            elif type(error).__name__ == "KilledWorker":
                yield Receipt(
                    assignment.cohort, len(assignment.members), {}, 0.0, "the worker process died, repeatedly"
                )
            else:
                raise error
            future.release()
            if (following := next(waiting, None)) is not None:
                successor = client.submit(work, following, pure=False)
                owner[successor.key] = following
                flying.add(successor)
