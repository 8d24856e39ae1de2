"""The 21 statistics of a (1588, 8192) float32 tensor."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import baseline
import machine
from row import Row

from generator.clusters import local


def observables(device: str) -> Iterator[Row]:
    """The 21 statistics of a (1588, 8192) float32 tensor."""
    if device == "cuda":
        return (yield from _observables_on_gpu())
    (found,) = machine.together(1, _statistics, 1)
    yield from _statistics_rows("one thread each", found, "≥ 20")
    pair = machine.together(local.cores(), _statistics, 0)
    (best,) = machine.together(1, _statistics, local.cores())
    engine = statistics.fmean(each["engine"] for each in pair) / len(pair)
    yield Row("21 statistics of (1588, 8192): all cores each", engine, "s", best["plain"], best["plain"] / engine)
    (found,) = machine.together(1, _in_code)
    for name, (ours, theirs) in found.items():
        yield Row(f"21 statistics of {name}: compiled, against not", ours, "ns/element", theirs, theirs / ours)


def _statistics_rows(label: str, found: dict[str, float], target: str) -> Iterator[Row]:
    for kind, aim in (("plain", target), ("tuned", "")):
        ratio = found[kind] / found["engine"]
        yield Row(
            f"21 statistics of (1588, 8192), {label}: against {kind}", found["engine"], "s", found[kind], ratio, aim
        )
    yield Row("largest relative difference to plain", found["difference"], "")


def _statistics(wait: Callable[[], int], threads: int) -> dict[str, float]:
    """Median seconds of the engine and, unless `threads` is 0, of the baselines with so many threads."""
    import torch

    from generator.observables.tensors import tensor_statistics

    x = torch.randn(1588, 8192, generator=torch.Generator().manual_seed(0))
    calls: dict[str, Callable[[], float]] = {"engine": lambda: machine.timed(lambda: tensor_statistics(x))}
    if threads:
        torch.set_num_threads(threads)
        for kind, function in baseline.STATISTICS.items():
            calls[kind] = lambda function=function: machine.timed(lambda: function(x))  # type: ignore[misc]
    wait()
    found = {name: statistics.median(times) for name, times in machine.alternate(5, **calls).items()}
    if threads:
        ours, theirs = tensor_statistics(x), baseline.plain(x)
        found["difference"] = float(((ours - theirs).abs() / ours.abs().clamp(min=1e-2)).max())
        if found["difference"] > 1e-2:
            raise RuntimeError(f"the statistics differ: {found['difference']}")
    return found


def _in_code(wait: Callable[[], int]) -> dict[str, tuple[float, float]]:
    """Nanoseconds per element in compiled code and without, of what stacks of sixteen networks have."""
    import torch

    from generator import kernels
    from generator.observables.tensors import reduced

    random, found = torch.Generator().manual_seed(0), {}
    for rows, n, positive in ((4096, 128, True), (4096, 128, False), (4096, 10, False), (16, 8192, False)):
        x = torch.randn(rows, n, generator=random)
        x = x.relu() if positive else x

        def timed(how: kernels.Kernels, x: torch.Tensor = x) -> float:
            with kernels.chosen(how):
                return machine.timed(lambda: reduced(x))

        timed("compiled")
        taken = machine.alternate(15, compiled=lambda: timed("compiled"), pieces=lambda: timed("pieces"))
        ours, theirs = (1e9 * statistics.median(taken[name]) / x.numel() for name in ("compiled", "pieces"))
        found[f"({rows}, {n}){', none negative' * positive}"] = (ours, theirs)
    return found


def _observables_on_gpu() -> Iterator[Row]:
    import torch

    from generator.observables.tensors import tensor_statistics

    x = torch.randn(1588, 8192, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    tensor_statistics(x)
    calls = {"engine": lambda: machine.timed(lambda: tensor_statistics(x), "cuda")}
    calls["plain"] = lambda: machine.timed(lambda: baseline.plain(x), "cuda")
    found = {name: statistics.median(times) for name, times in machine.alternate(7, **calls).items()}
    once = 4 * x.numel() / machine.copying("cuda")
    yield Row("21 statistics of (1588, 8192)", found["engine"], "s", found["plain"], found["plain"] / found["engine"])
    yield Row("… in readings of the tensor at copy bandwidth", found["engine"] / once, "passes")
