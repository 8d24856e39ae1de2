"""What handing out cohorts costs: no-op cohorts through a real scheduler, and two workers against one on real ones."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from row import Row

from generator import cluster, driver, spec
from generator.dataset import Dataset
from generator.generate import generate
from generator.journal import Journal
from generator.site import Local
from generator.work import Assignment, Receipt

COHORTS = 100_000
WORK = 'name = "x"\ncheckpoints = 11\n[[grid]]\ntask = "photos"\narchitecture = "knet4"\nrule = ["sgdm", "adam", "fa", "ia"]\n'
WORK += "learning_rate = [0.5, 1.0]\nbatch_size = [32, 64]\nseeds = 2\nepochs = 2\n"


def nothing(assignment: Assignment) -> Receipt:
    """A cohort that takes no time."""
    return Receipt(assignment.cohort, 1, {"complete": 1}, 0.0)


def scheduling(device: str) -> Iterator[Row]:
    """Overhead and memory over many cohorts; the efficiency of two workers."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _many(Path(folder))
        one, two = (_seconds(Path(folder) / f"{workers}", workers) for workers in (1, 2))
    yield Row("32 knet4 networks, one worker", one, "s")
    yield Row("… two workers: efficiency", one / (2 * two), "", two, target="≥ 0.9")


def _many(folder: Path) -> Iterator[Row]:
    driver_process, sizes = psutil.Process(os.getpid()), {}
    todo = (Assignment(str(folder), f"fa-mlp3-digits-{i:010x}", (), {}, frozenset(), "cpu") for i in range(COHORTS))
    with cluster.opened(Local(workers=2), "cpu", COHORTS) as pool, Journal(Dataset(folder)) as journal:
        workers = [psutil.Process(pid) for pid in pool.client.run(os.getpid).values()]
        started = time.perf_counter()
        for number, _ in enumerate(driver.collect(pool, todo, journal, nothing), start=1):
            if number in (COHORTS // 100, COHORTS // 10, COHORTS):
                sizes[number] = [one.memory_info().rss / 1e6 for one in (driver_process, *workers)]
        seconds = time.perf_counter() - started
    early, late = sizes[COHORTS // 10], sizes[COHORTS]
    yield Row(f"{COHORTS:,} no-op cohorts through two workers: each", 1e3 * seconds / COHORTS, "ms")
    yield Row("… driver and scheduler, at the end against at a tenth", late[0], "MB", early[0], late[0] / early[0])
    yield Row(
        "… a worker, at the end against at a tenth", max(late[1:]), "MB", max(early[1:]), max(late[1:]) / max(early[1:])
    )


def _seconds(folder: Path, workers: int) -> float:
    """Of `generate`, without starting and ending the workers: between the first receipt and the last, of equal cohorts."""
    moments: list[tuple[float, int]] = []
    generate(
        spec.parse(WORK), folder, workers=workers, watch=lambda total, r: moments.append((time.perf_counter(), total))
    )
    return moments[-1][0] - moments[0][0]
