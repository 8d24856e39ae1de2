"""Every rule's step beside what its formula says: products, as a multiple of those of backpropagation with plain descent."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import machine
import numpy as np
from row import Row

from generator.clusters import process
from generator.rules import PATHWAYS, UPDATES, chosen
from generator.spec import spec
from generator.spec.network import NetworkSpec
from generator.training.search_drawn import STAND_INS

STACK, STEPS, REPEATS = 4, 3, 5
SHAPE = """
name = "rules"
[[grid]]
task = "digits"
architecture = "mlp(depth=4)"
rule = "sgd"
width = 2.0
batch_size = 128
seeds = 4
"""


def rules(device: str) -> Iterator[Row]:
    """Milliseconds of a step of a stack of four chains of 256 units, without the reading of batches.

    Rules that train networks of their own kind do, and so does plain descent beside them.
    """
    usual = spec.parse(SHAPE).networks[:STACK]
    with process.for_training():
        yield from _rules(usual, device)


def _rules(usual: Sequence[NetworkSpec], device: str) -> Iterator[Row]:
    names = [
        *(f"bp+{update}" for update in UPDATES),
        *(f"{name}+momentum" for name in PATHWAYS if name != "bp"),
    ]
    for name in names:
        rule = chosen(name, "")
        kinds = [STAND_INS[family] for family in rule.needs.architectures] or [usual[0].architecture]
        networks = [replace(one, architecture=kinds[0]) for one in usual]
        ours, theirs = (_step(networks, one, device) for one in (name, "sgd"))
        found = machine.alternate(REPEATS, ours=ours, theirs=theirs)
        times = statistics.median(np.divide(found["ours"], found["theirs"]))
        said = rule.needs.flops.total / 3 * _of_update(networks[0], UPDATES[rule.update].flops)
        foretold = 1e3 * said * statistics.median(found["theirs"])
        yield Row(
            f"{rule.label}: a step, against its formula, {said:.2f} × sgd",
            1e3 * statistics.median(found["ours"]),
            "ms",
            foretold,
            said / times,
            "≥ 0.67",
        )


def _step(usual: Sequence[NetworkSpec], name: str, device: str) -> Callable[[], float]:
    """A call that takes some steps, and says how long one took."""
    from generator.training.stack import Stack

    stack = Stack([replace(network, rule=chosen(name, "")) for network in usual], device)
    stack.settle()
    batches = [stack.batch(step) for step in range(STEPS)]
    for batch in batches:
        stack.step(batch)

    return lambda: machine.timed(lambda: [stack.step(batch) for batch in batches], device) / STEPS


def _of_update(network: NetworkSpec, formula: str) -> float:
    """What an update's formula says of a network: the mean over layers, by their multiply-adds."""
    text = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula.replace("²", "**2").replace("³", "**3"))
    total = 0.0
    for size in network.sizes:
        positions = size.macs // size.weights
        sides = sorted((size.units // positions, size.weights * positions // size.units))
        total += size.macs * eval(text, {"s": sides[0], "l": sides[1], "b": network.batch_size, "p": positions})
    return float(total / sum(size.macs for size in network.sizes))
