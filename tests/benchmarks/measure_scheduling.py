"""What handing out cohorts costs: no-op cohorts through a real scheduler, and two workers against one on real ones."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from unittest import mock

import machine
import numpy as np
import psutil
from row import Row

from generator.clusters import pool as cluster
from generator.clusters.local import Local
from generator.dataset.storage import Dataset
from generator.running import driver
from generator.running.generate import generate
from generator.running.journal import Journal
from generator.running.work import Assignment, Receipt
from generator.spec import spec

COHORTS, FEW = 100_000, 5_000
WORK = 'name = "x"\ncheckpoints = 11\n[[grid]]\ntask = "photos"\narchitecture = "knet4"\nrule = ["sgdm", "adam", "fa", "ia"]\n'
WORK += "learning_rate = [0.5, 1.0]\nbatch_size = [32, 64]\nseeds = 4\nepochs = 1\n"
PAIRS = 3  # of runs with one worker and with two, in turn: on a machine shared with others one pair says little


def nothing(assignment: Assignment) -> Receipt:
    """A cohort that takes no time."""
    return Receipt(assignment.cohort, 1, {"complete": 1}, 0.0)


def scheduling(device: str) -> Iterator[Row]:
    """What encryption costs; overhead and memory over many cohorts; the efficiency of two workers."""
    yield _encryption()
    with tempfile.TemporaryDirectory() as folder:
        yield from _many(Path(folder))
        pairs = [[_trained(Path(folder) / f"{pair}-{workers}", workers) for workers in (1, 2)] for pair in range(PAIRS)]
    alone, both = (float(np.median([seconds for seconds, _ in runs])) for runs in zip(*pairs, strict=True))
    efficiencies = [one / (2 * two) for (one, _), (two, _) in pairs]
    yield Row("256 knet4 networks in 64 cohorts, one worker", alone, "s")
    yield Row("… two workers: efficiency", float(np.median(efficiencies)), "", both, target="≥ 0.9")
    yield Row("… the lowest of three", min(efficiencies), "")
    yield Row(
        "… share of the workers' time in which they train",
        float(np.median([own / (2 * two) for _, (two, own) in pairs])),
        "",
    )
    yield Row("… a cohort's time beside another, over alone", float(np.median([b / a for (_, a), (_, b) in pairs])), "")


def _encryption() -> Row:
    """A cohort's overhead as it is, encrypted, against the same in the clear: runs of their own, in turn."""

    def encrypted() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return _handed_out(Path(folder), FEW)

    def clear() -> float:
        with mock.patch("dask.distributed.Security.temporary", return_value=None):
            return encrypted()

    found = machine.alternate(PAIRS, encrypted=encrypted, clear=clear)
    ratio = float(np.median(np.divide(found["encrypted"], found["clear"])))
    ours, plain = (1e3 * float(np.median(found[name])) / FEW for name in ("encrypted", "clear"))
    return Row(
        f"{FEW:,} no-op cohorts through two workers, encrypted against in the clear: each", ours, "ms", plain, ratio
    )


def _many(folder: Path) -> Iterator[Row]:
    driver_process, sizes = psutil.Process(os.getpid()), dict[int, list[float]]()

    def watch(number: int, workers: list[psutil.Process]) -> None:
        if number in (COHORTS // 100, COHORTS // 10, COHORTS):
            sizes[number] = [one.memory_info().rss / 1e6 for one in (driver_process, *workers)]

    seconds = _handed_out(folder, COHORTS, watch)
    early, late = sizes[COHORTS // 10], sizes[COHORTS]
    yield Row(f"{COHORTS:,} no-op cohorts through two workers: each", 1e3 * seconds / COHORTS, "ms")
    yield Row("… driver and scheduler, at the end against at a tenth", late[0], "MB", early[0], late[0] / early[0])
    yield Row(
        "… a worker, at the end against at a tenth", max(late[1:]), "MB", max(early[1:]), max(late[1:]) / max(early[1:])
    )


def _handed_out(folder: Path, cohorts: int, watch: Callable[..., None] = lambda number, workers: None) -> float:
    """Seconds for so many no-op cohorts. `watch` is told how many are back, and the workers."""
    todo = (Assignment(str(folder), f"fa-mlp3-digits-{i:010x}", (), {}, frozenset(), "cpu") for i in range(cohorts))
    with cluster.opened(Local(workers=2), "cpu", cohorts) as pool, Journal(Dataset(folder)) as journal:
        workers = [psutil.Process(pid) for pid in pool.client.run(os.getpid).values()]
        started = time.perf_counter()
        for number, _ in enumerate(driver.collect(pool, todo, journal, nothing), start=1):
            watch(number, workers)
        return time.perf_counter() - started


def _trained(folder: Path, workers: int) -> tuple[float, float]:
    """Seconds from the first cohort's beginning to the last one's receipt, and the sum of those that each cohort took."""
    received: list[tuple[float, Receipt]] = []

    def watch(done: object, receipt: Receipt | None) -> None:
        if receipt:
            received.append((time.time(), receipt))

    generate(spec.parse(WORK), folder, workers=workers, watch=watch)
    begun = min(datetime.fromisoformat(receipt.where["begun"]).timestamp() for _, receipt in received)
    return received[-1][0] - begun, sum(receipt.seconds for _, receipt in received)
