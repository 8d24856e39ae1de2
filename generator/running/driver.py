"""Hands cohorts to workers and collects their receipts. A cohort that kills its workers is tried in halves, then given up.

A bounded number of cohorts is in flight, so the driver's memory and the scheduler's do not grow with the dataset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generator.clusters import pool as cluster
from generator.clusters.contract import LOST, Pool, Site
from generator.errors import RequestError
from generator.running.journal import Journal
from generator.running.work import Assignment, Receipt, give_up, traces, work

IN_FLIGHT = 2  # cohorts per worker, so that none waits for the driver
STRIKES = 3  # workers that a cohort, or its halves, may kill
DEATHS = 30  # of workers that had a cohort, whatever killed them, after which it is given up all the same


def run(
    assignments: Sequence[Assignment],
    site: Site,
    device: str,
    journal: Journal,
    say: Callable[[str], None] = lambda text: None,
    crew: Callable[[str], None] = lambda text: None,
) -> Iterator[Receipt]:
    """Do the work and yield receipts as they come.

    Args:
        say: told where the dashboard is, if no worker comes, and which state in training was of no use.
        crew: told who works, each time that changes (`Pool.crew`).

    Raises:
        RequestError: the workers cannot be had, are lost, or cannot write.
    """
    if not assignments:
        return
    if site.inside:
        received: Iterator[Receipt] = map(work, assignments)
    else:
        received = _on_workers(assignments, site, device, journal, say, crew)
    for receipt in received:
        about = {"cohort": receipt.cohort, "networks": dict(receipt.states), "seconds": round(receipt.seconds, 3)}
        reason = {"reason": receipt.failure} if receipt.failure else {}
        for note in receipt.notes:
            journal.write("anew", cohort=receipt.cohort, reason=note)
            say(note)
        journal.write("failed" if receipt.failure else "done", **about, **reason, **receipt.where)
        yield receipt


def _on_workers(
    assignments: Sequence[Assignment],
    site: Site,
    device: str,
    journal: Journal,
    say: Callable[[str], None],
    crew: Callable[[str], None],
) -> Iterator[Receipt]:
    with cluster.opened(site, device, len(assignments), say) as pool:
        if pool.dashboard:
            say(f"dashboard: {pool.dashboard}")
        yield from collect(pool, assignments, journal, crew=crew)


@dataclass
class _Flight:
    """A cohort on its way. `trained`: how far it was when a worker last died, as `traces` says; `tries`: submissions."""

    assignment: Assignment
    tries: int = 0
    strikes: int = 0
    deaths: int = 0
    trained: object = None


def collect(
    pool: Pool,
    assignments: Iterable[Assignment],
    journal: Journal,
    train: Callable[[Assignment], Receipt] = work,
    crew: Callable[[str], None] = lambda text: None,
) -> Iterator[Receipt]:
    """Submit cohorts to workers, in this order, and yield receipts as they come.

    A cohort whose worker died is tried again. It is to blame for that only if it was in training there and has not got any
    further since the last time: a preempted machine is nobody's fault, nor is what a neighbour does. To blame `STRIKES` times, it
    is tried in halves, one after the other; as often again, and it is recorded as failed.

    A connection to the scheduler that breaks is made again, and a result that was lost with its worker is made again.

    Raises:
        RequestError: the scheduler is lost, no worker can be had, or what a worker raised (the storage does not take what was
            made).
    """
    from concurrent.futures import CancelledError

    from dask.distributed import as_completed
    from distributed.scheduler import KilledWorker

    waiting, completed = iter(assignments), as_completed(loop=pool.client.loop)
    flying: dict[tuple[str, str, int], _Flight] = {}
    known = ""

    def submit(flight: _Flight) -> None:
        flight.tries += 1
        key = (cluster.TASK, flight.assignment.cohort, flight.tries)
        flying[key] = flight
        completed.add(pool.client.submit(train, flight.assignment, pure=False, key=key))

    def top_up() -> None:
        while len(flying) < IN_FLIGHT * max(1, pool.places()):
            if (assignment := next(waiting, None)) is None:
                return
            submit(_Flight(assignment))

    top_up()
    while flying:
        while not completed.has_ready():
            pool.check()
            if (now := pool.crew()) != known:
                crew(known := now)
            with completed.thread_condition:
                completed.thread_condition.wait(0.1)
        future = next(completed)
        flight = flying.pop(future.key)
        try:
            receipt = future.result()
        except KilledWorker as error:
            if reason := _judged(flight, error, journal):
                yield give_up(flight.assignment, reason)
            else:
                submit(flight)
        except (CancelledError, OSError) as error:
            if future.status == "error":  # the worker's own
                raise
            while pool.client.status == "connecting":
                pool.check()
                time.sleep(0.1)
            pool.check()
            flight.deaths += 1
            journal.write("lost", cohort=flight.assignment.cohort, deaths=flight.deaths)
            if flight.deaths >= DEATHS:
                raise RequestError(LOST) from error
            submit(flight)
        except Exception as error:
            if cluster.lacks_code(error):
                raise RequestError(f"{error}: install Rulescope where the scheduler and the workers run") from error
            raise
        else:
            yield receipt
        future.release()
        top_up()


def _judged(flight: _Flight, error: Any, journal: Journal) -> str:
    """Count a death, and say why the cohort is to be given up, if it is."""
    assignment, worker = flight.assignment, error.last_worker.address
    running, trained = traces(assignment)
    moved = trained is not None and trained != flight.trained
    guilty = not moved and running.get("worker") == worker
    dead = error.allowed_failures + 1  # a scheduler of somebody else's tries several workers before it says so
    flight.trained, flight.deaths = trained, flight.deaths + dead
    flight.strikes = 0 if moved else flight.strikes + dead * guilty
    journal.write("died", cohort=assignment.cohort, worker=worker, strikes=flight.strikes, deaths=flight.deaths)
    if flight.strikes < STRIKES and flight.deaths < DEATHS:
        return ""
    if assignment.parts == 1 and len(assignment.members) > 1 and flight.deaths < DEATHS:
        flight.assignment, flight.strikes = replace(assignment, parts=2), 0
        journal.write("halved", cohort=assignment.cohort)
        return ""
    return f"the worker process died, {flight.deaths} times (out of memory, or killed)"
