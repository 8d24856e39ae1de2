"""A step of the engine against the peer's, one network's whole loop of updates compiled by JAX (`jitted.py`)."""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Iterator

import baseline
import machine
import numpy as np
from row import CHECKPOINTS, EPOCHS, PROBE, Row

from generator.clusters import local
from generator.spec import spec

RULES = ("sgdm", "adam", "fa", "ia")
AT_ONCE = {"mlp3": (1, 4, 16), "knet4": (1,)}  # networks of one compiled loop
STEPS = {"mlp3": 60, "knet4": 2}
REPEATS = {"mlp3": 9, "knet4": 3}


def here() -> bool:
    """Whether there is a peer; says so if not."""
    found = importlib.util.find_spec("jax") is not None
    if not found:
        print("JAX is not installed, so nothing is measured against it: pip install '.[bench]'")
    return found


def peer(device: str) -> Iterator[Row]:
    """Seconds of a step, in turn in one process, alone and with all cores busy."""
    if not here():
        return
    cores = local.cores()
    for architecture, task, busy in (
        ("mlp3", "digits", (1, cores)),
        ("knet4", "photos", (cores,)),
    ):
        for processes in busy:
            for rule in RULES:
                found = machine.together(processes, _steps, architecture, task, rule)
                ours = statistics.fmean(each["engine"] for each in found)
                theirs = {k: statistics.fmean(each[k] for each in found) for k in AT_ONCE[architecture]}
                best = min(theirs, key=lambda k: theirs[k])
                cost = f"{'all cores busy' if processes > 1 else 'one core'}, against JAX with {best} at once"
                name, ratio = f"{architecture} {rule}: one step, {cost}", theirs[best] / ours
                target = "≥ 1" if architecture == "mlp3" and rule != "ia" and processes == 1 else ""
                yield Row(name, 1e6 * ours, "µs/network", 1e6 * theirs[best], ratio, target)


def _steps(wait: Callable[[], int], architecture: str, task: str, rule: str) -> dict[str | int, float]:
    """Seconds per step and network, on a core of this process's own, of the engine and of the peer with k networks at once.

    Raises RuntimeError if they do not learn the same.
    """
    own = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {own[wait() % len(own)]})
    import jitted

    from generator.spec import planning
    from generator.training.stack import Stack

    members = spec.parse(baseline.workload(architecture, task, [rule], 64, EPOCHS, CHECKPOINTS)).networks
    steps = STEPS[architecture]
    stack = Stack(members[: planning.stack_size(members[0], "cpu", PROBE)], compiled=all(map(compiling.suits, members)))
    stack.settle()
    peers = {k: jitted.Peer(members[:k]) for k in AT_ONCE[architecture]}

    def engine(start: int) -> list[np.ndarray]:
        losses: list[np.ndarray] = []
        while len(losses) < steps:
            losses += [each.numpy() for each in stack.learn(start + len(losses), start + steps)]
        return losses

    first = np.stack(engine(0))
    for k, one in peers.items():
        if not np.allclose(one.learn(0, steps), first[:, :k], rtol=1e-2):
            raise RuntimeError(f"{architecture} {rule}: JAX with {k} at once does not learn what the engine does")
    found: dict[str | int, list[float]] = {name: [] for name in ("engine", *peers)}
    for repeat in range(1, REPEATS[architecture] + 1):
        wait()
        start = time.perf_counter()
        engine(repeat * steps)
        found["engine"].append((time.perf_counter() - start) / steps / len(stack.members))
        for k, one in peers.items():
            wait()
            start = time.perf_counter()
            one.learn(repeat * steps, (repeat + 1) * steps)
            found[k].append((time.perf_counter() - start) / steps / k)
    return {name: statistics.median(seconds) for name, seconds in found.items()}
