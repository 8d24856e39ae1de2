"""What the machine can do at best."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import machine
from row import Row

from generator.clusters import local


def floors(device: str) -> Iterator[Row]:
    """What the machine can do at best."""
    cores = local.cores()
    if device == "cuda":
        yield Row("copy, read + written", machine.copying("cuda") / 1e9, "GB/s")
        return
    for processes in sorted({1, cores}):
        found = machine.together(processes, _floor)
        busy = "all cores" if processes > 1 else "one core"
        yield Row(f"sgemm, {busy}", sum(peak for peak, _ in found) / 1e9, "GF/s")
        yield Row(f"copy, read + written, {busy}", sum(copy for _, copy in found) / 1e9, "GB/s")


def _floor(wait: Callable[[], int]) -> tuple[float, float]:
    wait()
    peak = machine.sgemm(2.0)
    wait()
    return peak, machine.copying()
