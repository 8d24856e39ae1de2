"""What electrodes cost: one checkpoint through the full electrode alone, and through twelve others beside it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator

import baseline
import machine
from row import CHECKPOINTS, EPOCHS, PROBE, Row

from generator.dataset.electrodes import FULL, Electrode
from generator.spec import spec

NOISE: tuple[dict[str, object], ...] = ({}, {"noise_mode": "relative", "noise": 0.5})
TWELVE = [Electrode(units=n, **noise) for n, noise in itertools.product((10, 30, 100, 300, 1000, 3000), NOISE)]  # type: ignore[arg-type]


def electrodes(device: str) -> Iterator[Row]:
    """One checkpoint through the full electrode, and through twelve: 10 to 3000 units, without noise and with."""
    for architecture, task in (("mlp3", "digits"), ("knet4", "photos")):
        ((members, measured, times),) = machine.together(1, _observing, architecture, task, device)
        one, both = (statistics.median(times[name]) / members for name in ("full", "twelve"))
        first, further = measured
        yield Row(f"{architecture}: observing through the full electrode", 1e3 * one, "ms/network")
        yield Row("… per element measured", 1e9 * one / first, "ns")
        yield Row("… through twelve others beside it", 1e3 * both, "ms/network", 1e3 * one, one / both)
        yield Row("… per further element measured", 1e9 * (both - one) / further, "ns", 1e9 * one / first)
        yield Row("… elements measured by the twelve, in those of the full one", further / first, "")


def _observing(
    wait: object, architecture: str, task: str, device: str
) -> tuple[int, tuple[float, float], dict[str, list[float]]]:
    """Networks; elements per network of the full electrode and of the twelve; seconds of a checkpoint with either."""
    from generator.spec import planning
    from generator.training import loop
    from generator.training.stack import Stack

    members = spec.parse(baseline.workload(architecture, task, ["sgdm"], 64, EPOCHS, CHECKPOINTS)).networks
    members = members[: planning.stack_size(members[0], device, PROBE)]
    stacks = {
        "full": Stack(members, device),
        "twelve": Stack(members, device, electrodes=[FULL, *TWELVE]),
    }
    for stack in stacks.values():
        stack.settle()
        loop.observe(stack, stack.probe(PROBE), checkpoint=0)  # draws the places of chronic electrodes
    stimuli = stacks["full"].probe(PROBE)

    def observing(stack: Stack) -> Callable[[], float]:
        return lambda: machine.timed(lambda: loop.observe(stack, stimuli, checkpoint=1), device)

    calls = {name: observing(stack) for name, stack in stacks.items()}
    times = machine.alternate(7, **calls)

    def elements(some: list[Electrode]) -> float:
        sizes = members[0].sizes
        return sum(e.count(size.weights) + PROBE * e.count(size.units) for e in some for size in sizes)

    return len(members), (elements([FULL]), elements(TWELVE)), times
