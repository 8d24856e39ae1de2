"""Training steps alone as a share of the sgemm peak, what observing adds, and every architecture × rule against tuned."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import baseline
import machine
import numpy as np
import run_baseline
from row import CHECKPOINTS, EPOCHS, PROBE, RULES, Row

from generator.clusters import local
from generator.spec import spec


def training(device: str) -> Iterator[Row]:
    """Training steps alone as a share of the sgemm peak, and what observing adds."""
    cores = local.cores()
    for architecture, task, processes, target in (
        ("mlp3", "digits", 1, "≥ 75 %"),
        ("mlp3", "digits", cores, "≥ 75 %"),
        ("knet4", "photos", 1, ""),
        ("knet4", "photos", cores, "≥ 70 %"),
    ):
        for rule in RULES:
            found = machine.together(processes, _training, architecture, task, rule)
            peak, done, seconds = (sum(each[i] for each in found) for i in (0, 1, 2))
            busy = "all cores busy" if processes > 1 else "one core"
            aim = target if rule == "sgdm" else ""
            name = f"{architecture} {rule}, {busy}: training, share of sgemm peak"
            yield Row(name, 100 * done / peak, "%", target=aim)
            if processes > 1:
                share = statistics.fmean(each[3] for each in found)
                yield Row(
                    f"{architecture} {rule}: observing, share of the fixed workload",
                    100 * share,
                    "%",
                    target="≤ 10 %" if architecture == "mlp3" else "≤ 5 %",
                )
                yield Row(f"{architecture} {rule}: one step", 1e6 * seconds / processes, "µs/network")


def _training(wait: Callable[[], int], architecture: str, task: str, rule: str) -> tuple[float, float, float, float]:
    """Flops per second of sgemm and of training, seconds per step and network, and the share of observing."""
    from generator.spec import planning
    from generator.training import loop
    from generator.training.stack import Stack

    text = baseline.workload(architecture, task, [rule], 64, EPOCHS, CHECKPOINTS)
    members = spec.parse(text).networks
    members = members[: planning.stack_size(members[0], "cpu", PROBE)]
    stack = Stack(members, compiled=True)
    stack.settle()
    stimuli, steps = stack.probe(PROBE), 4 if architecture.startswith("knet") else 60
    _learn(stack, 0, 3)
    loop.observe(stack, stimuli)
    peaks, learning, observing = [], [], []
    for repeat in range(7):
        wait()
        peaks.append(machine.sgemm(0.4))
        wait()
        start = time.perf_counter()
        _learn(stack, repeat * steps, (repeat + 1) * steps)
        learning.append((time.perf_counter() - start) / steps / len(members))
        wait()
        start = time.perf_counter()
        loop.observe(stack, stimuli)
        observing.append((time.perf_counter() - start) / len(members))
    step_time, look = statistics.median(learning), statistics.median(observing)
    whole = members[0].steps * step_time + CHECKPOINTS * look
    return statistics.median(peaks), flops(members[0]) / step_time, step_time, CHECKPOINTS * look / whole


def _learn(stack: Any, step: int, until: int) -> None:
    while step < until:
        step += len(stack.learn(step, until))


def flops(member: spec.NetworkSpec) -> float:
    """Arithmetic of one update: multiply-adds of all products × 2, convolutions counted with their padding.

    Forward, error × input for the weights, and the error sent down everywhere but to the input. Information alignment adds,
    for every layer but the first, one product with B and one for its gradient.
    """
    macs = [size.macs for size in member.sizes]
    above = sum(macs[1:])
    products = 2 * sum(macs) + above + (2 * above if member.rule.pathway == "ia" else 0)
    return 2.0 * member.batch_size * products


def everywhere(device: str) -> Iterator[Row]:
    """All cores on one cohort each, against the tuned baseline at its best thread count, for a tenth of the workload."""
    from generator.architectures import ARCHITECTURES

    epochs, checkpoints, cores = 4, 3, local.cores()
    least: tuple[float, str] = (np.inf, "")
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            task = "photos" if architecture.startswith("knet") else "digits"
            threads, _ = run_baseline.best_threads(architecture, task, Path(folder))
            for rule in RULES:
                text = baseline.workload(architecture, task, [rule], 64, epochs, checkpoints)
                ours, theirs = [], []
                for _ in range(2):
                    ours.append(statistics.fmean(machine.together(cores, _cohort, text, checkpoints)) / cores)
                    arguments = (architecture, task, rule, 2, epochs, checkpoints, threads, Path(folder))
                    theirs.append(statistics.fmean(run_baseline.run("tuned", *arguments)))
                ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                least = min(least, (ratio, f"{architecture} {rule}"))
                name = f"{architecture} {rule}: against tuned"
                yield Row(name, statistics.median(ours), "s/network", statistics.median(theirs), ratio, "≥ 1")
    yield Row(
        f"no architecture × rule slower than tuned: the least is {least[1]}", least[0], "×", None, least[0], "≥ 1"
    )


def _cohort(wait: Callable[[], int], text: str, checkpoints: int) -> float:
    """Seconds per network of one cohort of the engine's own size."""
    from generator.spec import planning
    from generator.training import loop

    members = spec.parse(text).networks
    members = members[: planning.stack_size(members[0], "cpu", PROBE)]
    for _ in loop.train([replace(members[0], epochs=1)], 2, PROBE, compiled=True):  # warm up
        pass
    wait()
    start = time.perf_counter()
    for _ in loop.train(members, checkpoints, PROBE, compiled=True):
        pass
    return (time.perf_counter() - start) / len(members)
