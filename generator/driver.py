"""Hands cohorts to workers and collects their receipts. A cohort that kills its workers is tried in halves, then given up.

A bounded number of cohorts is in flight, so the driver's memory and the scheduler's do not grow with the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generator import cluster
from generator.errors import RequestError
from generator.journal import Journal
from generator.site import Local, Scheduler, Site
from generator.work import Assignment, Receipt, give_up, traces, work

IN_FLIGHT = 2  # cohorts per worker, so that none waits for the driver
STRIKES = 3  # workers that a cohort, or its halves, may kill
DEATHS = 30  # of workers that had a cohort, whatever killed them, after which it is given up all the same


class Lost(RequestError):
    """The scheduler is."""

    def __init__(self) -> None:
        super().__init__("the Dask scheduler is gone; the same command goes on where this run stopped")


def run(
    assignments: Sequence[Assignment],
    site: Site,
    device: str,
    journal: Journal,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Receipt]:
    """Do the work and yield receipts as they come.

    Args:
        say: told where the dashboard is, and if no worker comes.

    Raises:
        RequestError: the workers cannot be had, are lost, or cannot write.
    """
    if not assignments:
        return
    if isinstance(site, Local) and site.workers == 0:
        received: Iterator[Receipt] = map(work, assignments)
    else:
        received = _on_workers(assignments, site, device, journal, say)
    for receipt in received:
        about = {"cohort": receipt.cohort, "networks": dict(receipt.states), "seconds": round(receipt.seconds, 3)}
        reason = {"reason": receipt.failure} if receipt.failure else {}
        journal.write("failed" if receipt.failure else "done", **about, **reason, **receipt.where)
        yield receipt


def _on_workers(
    assignments: Sequence[Assignment], site: Site, device: str, journal: Journal, say: Callable[[str], None]
) -> Iterator[Receipt]:
    left = {assignment.cohort: assignment for assignment in assignments}
    while left:
        with cluster.opened(site, device, len(left), say) as pool:
            if pool.dashboard:
                say(f"dashboard: {pool.dashboard}")
            try:
                for receipt in collect(pool, tuple(left.values()), journal):
                    del left[receipt.cohort]
                    yield receipt
            except Lost:
                if not isinstance(site, Scheduler):  # ours is in this process
                    raise
                say("the connection to the scheduler is lost; trying to get it back")
                journal.write("lost", scheduler=site.address)
                try:
                    cluster.connected(site).close()
                except RequestError as error:
                    raise Lost from error


@dataclass
class _Flight:
    """A cohort on its way. `trained`: how far it was when a worker last died, as `traces` says; `tries`: submissions."""

    assignment: Assignment
    tries: int = 0
    strikes: int = 0
    deaths: int = 0
    trained: object = None


def collect(
    pool: cluster.Pool,
    assignments: Iterable[Assignment],
    journal: Journal,
    train: Callable[[Assignment], Receipt] = work,
) -> Iterator[Receipt]:
    """Submit cohorts to workers, in this order, and yield receipts as they come.

    A cohort whose worker died is tried again. It is to blame for that only if it was in training there and has not got any
    further since the last time: a preempted machine is nobody's fault, nor is what a neighbour does. To blame `STRIKES` times, it
    is tried in halves, one after the other; as often again, and it is recorded as failed.

    Raises:
        Lost: the scheduler is.
        RequestError: what a worker raised (the storage does not take what was made).
    """
    from dask.distributed import as_completed
    from distributed.scheduler import KilledWorker

    waiting, completed = iter(assignments), as_completed(loop=pool.client.loop)
    flying: dict[tuple[str, str, int], _Flight] = {}

    def submit(flight: _Flight) -> None:
        flight.tries += 1
        key = (cluster.TASK, flight.assignment.cohort, flight.tries)
        flying[key] = flight
        completed.add(pool.client.submit(train, flight.assignment, pure=False, key=key))

    def top_up() -> None:
        while len(flying) < IN_FLIGHT * max(1, pool.workers()):
            if (assignment := next(waiting, None)) is None:
                return
            submit(_Flight(assignment))

    top_up()
    while flying:
        while not completed.has_ready():
            if pool.client.status != "running":
                raise Lost
            with completed.thread_condition:
                completed.thread_condition.wait(0.1)
        future = next(completed)
        flight = flying.pop(future.key)
        if future.status in ("cancelled", "lost"):
            raise Lost
        error = future.exception()
        if error is None:
            yield future.result()
        elif not isinstance(error, KilledWorker):
            raise _readable(error)
        elif reason := _judged(flight, error, journal):
            yield give_up(flight.assignment, reason)
        else:
            submit(flight)
        future.release()
        top_up()


def _judged(flight: _Flight, error: Any, journal: Journal) -> str:
    """Count a death, and say why the cohort is to be given up, if it is."""
    assignment, worker = flight.assignment, error.last_worker.address
    running, trained = traces(assignment)
    moved = trained is not None and trained != flight.trained
    guilty = not moved and running.get("worker") == worker
    flight.trained, flight.deaths = trained, flight.deaths + 1
    flight.strikes = 0 if moved else flight.strikes + guilty
    journal.write("died", cohort=assignment.cohort, worker=worker, strikes=flight.strikes, deaths=flight.deaths)
    if flight.strikes < STRIKES and flight.deaths < DEATHS:
        return ""
    if assignment.parts == 1 and len(assignment.members) > 1 and flight.deaths < DEATHS:
        flight.assignment, flight.strikes = replace(assignment, parts=2), 0
        journal.write("halved", cohort=assignment.cohort)
        return ""
    return f"the worker process died, {flight.deaths} times (out of memory, or killed)"


def _readable(error: BaseException) -> BaseException:
    """A worker that lacks the code is the one error that is neither the storage's nor a bug."""
    if isinstance(error, ImportError):
        return RequestError(f"a worker cannot import what it needs: {error}; install Rulescope where workers run")
    return error
