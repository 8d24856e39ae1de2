"""The machine's own limits, and a way to load all of its cores at once with the same work."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from generator.clusters import process

LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "dask")


def hardware(device: str) -> str:
    """The device, in words."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split("\t: ", 1) for line in text.replace("\t\t: ", "\t: ").splitlines() if "\t: " in line)
    name = fields.get("model name", platform.processor() or platform.machine())
    return f"{len(os.sched_getaffinity(0))} cores, {name}, family {fields.get('cpu family', '?')}"


def versions() -> Mapping[str, str]:
    """Of Python and the libraries that matter for speed."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def together(processes: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(wait, *arguments)` returns in each of so many fresh processes, set up as workers are.

    `wait()` returns in all of them at the same moment, so that they load the machine with the same thing.
    """
    before = dict(os.environ)
    os.environ.update(process.environment())
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=_run, args=(barrier, results, work, arguments), daemon=True) for _ in range(processes)
    ]
    for each in started:
        each.start()
    os.environ.clear()
    os.environ.update(before)
    found = [results.get(timeout=1800) for _ in started]
    for each in started:
        each.join()
    return found


def _run(barrier: Any, results: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with process.for_training():
        results.put(work(barrier.wait, *arguments))


def sgemm(seconds: float = 0.5, side: int = 1024) -> float:
    """Flops per second of large float32 matrix products in this process, as long as `seconds`."""
    import torch

    a, b = torch.randn(side, side), torch.randn(side, side)
    torch.mm(a, b)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(times)


def copying(device: str = "cpu", elements: int = 1 << 26) -> float:
    """Bytes per second read and written by copying a float32 array far larger than any cache."""
    import torch

    a = torch.ones(elements, device=device)
    b = torch.empty_like(a)
    times = []
    for _ in range(7):
        times.append(timed(lambda: b.copy_(a), device))
    return 8 * elements / statistics.median(times)


def timed(call: Callable[[], object], device: str = "cpu") -> float:
    """Seconds of one call, the device's queue emptied before and after."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def alternate(repeats: int, **calls: Callable[[], float]) -> dict[str, list[float]]:
    """The figures of several calls, taken in turn, so that a machine's drift meets all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            found[name].append(call())
    return found
