"""What a spec amounts to: its cohorts, and what they will cost. Runs nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from generator.curricula import tasks
from generator.curricula.objectives import OBJECTIVES
from generator.curricula.pinned import shown
from generator.dataset.electrodes import Electrode
from generator.dataset.layout import LONGEST
from generator.dataset.storage import Cohort, Outline
from generator.keys import digest
from generator.observables import OBSERVABLES, statistics
from generator.spec import compiling
from generator.spec.drawn import Drawn, drawn
from generator.spec.network import NetworkSpec
from generator.spec.spec import Spec


@dataclass(frozen=True)
class Room:
    """How many networks a device trains at once.

    Args:
        fast: bytes of a stack that still run at full speed. On a CPU that is its share of cache; a GPU gains by every
            network until its memory is full.
        memory: bytes that a cohort may take at all.
        most: networks of a stack, at most; fewer cohorts than workers would leave some idle.
        copies: of everything written on the probe set, while it is measured.
    """

    fast: int
    memory: int
    most: int
    copies: int


# How the CPU's figures were found is told in tests/benchmarks/README.md; the GPU's are estimates. The cohorts of a dataset
# are recorded in it: another device does not form them anew.
ROOM = {
    "cpu": Room(fast=12 << 20, memory=2 << 30, most=16, copies=2),
    "cuda": Room(fast=16 << 30, memory=16 << 30, most=512, copies=8),
}
FEW = 4  # networks that are stacked even where that is not faster: they share the cost of a file

# Fitted, as those of the observables, to the seconds that networks of three datasets took with a worker on every core, whose
# caches they share (tests/benchmarks/README.md); a plan says how long, a benchmark says how fast.
FLOPS_PER_SECOND = 70e9
SECONDS_PER_DRAW = 18e-9  # of one Gaussian number
SECONDS_PER_ACTIVATION = 8e-9  # of one update: all that is done to a unit's output and its error between products
SECONDS_PER_LAYER = {"linear": 3.6e-4, "conv": 2.6e-3}  # of one update of a stack, whatever its size
COMPILED_FLOPS_PER_SECOND = 85e9  # of networks that learn in compiled code, all that lies between products included
SECONDS_PER_READING = 1.9e-4  # of a stack, by one observable, of one layer through one electrode, whatever its size
BYTES_PER_ROW, BYTES_PER_STATISTIC = 80, 4


def form_cohorts(
    networks: Iterable[NetworkSpec], device: str = "cpu", probe: int = 256
) -> list[tuple[Cohort, list[NetworkSpec]]]:
    """Group networks that can be trained as one stack, in evenly sized cohorts, named by what is in them.

    Those of a grid and those of a sample form cohorts of their own, the grid's of one rule each. Of a sample, where networks of a
    shape are few, several rules share a cohort that a rule's own networks do not fill. Those for a CPU say whether compiled code
    is used.

    Args:
        device: what the cohorts are sized for, "cpu" or "cuda".
        probe: number of probe stimuli.
    """
    groups: dict[Any, list[NetworkSpec]] = {}
    for network in networks:
        kind = (network.rule.label, *sorted(network.rule.parameters.items()))
        groups.setdefault((network.sampled, network.stack_key, kind), []).append(network)
    joined: dict[Any, list[NetworkSpec]] = {}
    for (sampled, key, kind), group in groups.items():
        alone = not sampled or len(group) >= stack_size(group[0], device, probe)
        joined.setdefault((sampled, key, kind if alone else None), []).extend(group)
    found = [named(part) for group in joined.values() for part in _parts(group, stack_size(group[0], device, probe))]
    return compiling.chosen(found) if device == "cpu" else found


def stack_size(network: NetworkSpec, device: str, probe: int) -> int:
    """How many networks like this one to train as one stack."""
    room, sizes = ROOM[device], network.sizes
    weights, units = sum(size.weights for size in sizes), sum(size.units for size in sizes)
    shown = network.batch_size * OBJECTIVES[network.objective].shown
    step = 4 * (4 * weights + 2 * shown * units)  # weights, gradients, two moments; outputs and errors
    whole = max(step, 4 * (4 * weights + room.copies * probe * units))
    return max(1, min(room.most, room.memory // whole, max(FEW, room.fast // step)))


def named(members: Sequence[NetworkSpec]) -> tuple[Cohort, list[NetworkSpec]]:
    """The cohort of these networks."""
    first, ids = members[0], tuple(member.network_id for member in members)
    rules = "+".join(dict.fromkeys(member.rule.label for member in members))
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{rules}-{first.architecture}-{first.task}")
    end = f"-{digest(' '.join(sorted(ids)), 5)}"
    return Cohort(name[: LONGEST - len(end)] + end, ids, first.sampled), list(members)  # a task's name may be a path


def _parts(group: list[NetworkSpec], most: int) -> list[list[NetworkSpec]]:
    count = -(-len(group) // most)
    bounds = [round(i * len(group) / count) for i in range(count + 1)]
    return [group[a:b] for a, b in pairwise(bounds)]


def cost(members: Sequence[NetworkSpec], spec: Spec, compiled: bool = False) -> float:
    """Estimated seconds of one core for networks that are trained as one stack; `compiled`: whether compiled code is used.

    The rule's products per layer and update, what lies between them in every forward pass, and the statistics, each network's
    own; and the calls, which a stack makes once.
    """
    if not members:
        return 0.0
    sizes, compiled = members[0].sizes, compiled and all(map(compiling.suits, members))
    update = sum(SECONDS_PER_LAYER["linear" if size.macs == size.weights else "conv"] for size in sizes)
    readings = len(sizes) * len(spec.electrodes) * len(spec.measured)
    passes = members[0].rule.needs.flops.forward
    calls = 0.0 if compiled else max(member.steps for member in members) * update * passes
    calls += spec.checkpoints * readings * SECONDS_PER_READING
    return calls + sum(_own(member, spec, compiled) for member in members)


def _own(network: NetworkSpec, spec: Spec, compiled: bool) -> float:
    macs, units = (sum(getattr(size, part) for size in network.sizes) for part in ("macs", "units"))
    shown = network.batch_size * OBJECTIVES[network.objective].shown
    made = network.rule.needs.flops
    between = units * SECONDS_PER_ACTIVATION * made.forward
    products = 2 * made.total * macs
    step = shown * (products / COMPILED_FLOPS_PER_SECOND if compiled else products / FLOPS_PER_SECOND + between)
    measured = sum(_recording(electrode, network, spec) for electrode in spec.electrodes)
    return network.steps * step + spec.checkpoints * measured


def outline(members: Sequence[NetworkSpec], spec: Spec, compiled: bool) -> Outline:
    """What the networks of a cohort are, in brief; `compiled`: as of their cost."""
    rules = Counter(member.rule.label for member in members)
    return Outline(dict(rules), members[0].family.name, members[0].architecture, cost(members, spec, compiled))


def in_turn(
    cohorts: Sequence[tuple[str, list[NetworkSpec]]], spec: Spec, compiled: Collection[str] = ()
) -> list[tuple[str, list[NetworkSpec]]]:
    """Cohorts in the order in which they are trained: the longest of each rule first, the rules in step.

    So the end does not wait for one long cohort, and a dataset cut short has about the same share of every rule's work.
    """
    costs = {name: cost(members, spec, name in compiled) for name, members in cohorts}
    rules: dict[tuple[str, ...], list[tuple[str, list[NetworkSpec]]]] = {}
    for name, members in sorted(cohorts, key=lambda each: -costs[each[0]]):
        rules.setdefault(tuple(dict.fromkeys(m.rule.label for m in members)), []).append((name, members))
    when: dict[str, float] = {}  # the share of its rule's work that is done by its middle
    for queue in rules.values():
        total, done = sum(costs[name] for name, _ in queue), 0.0
        for name, _ in queue:
            when[name] = (done + costs[name] / 2) / total if total else 0.0
            done += costs[name]
    return sorted((each for queue in rules.values() for each in queue), key=lambda each: when[each[0]])


def _recording(electrode: Electrode, network: NetworkSpec, spec: Spec) -> float:
    """Estimated seconds of one core for what one electrode records at one checkpoint."""
    made = (
        OBSERVABLES[name]().seconds(size, electrode, spec.probe) for name in spec.measured for size in network.sizes
    )
    units = spec.probe * sum(electrode.count(size.units) for size in network.sizes)
    weights = sum(electrode.count(size.weights) for size in network.sizes)
    return sum(made) + electrode.mode.draws(weights, units) * SECONDS_PER_DRAW


def shortages(spec: Spec) -> list[str]:
    """A sentence for every electrode that asks for more units than some layers have."""
    layers = list(dict.fromkeys((n.architecture, n.form, n.input, size) for n in spec.networks for size in n.sizes))
    counts = {e.units: sum(size.units < e.units for *_, size in layers) for e in spec.electrodes if e.units is not None}
    return [
        f"{wanted} units are more than {count} of the {len(layers)} kinds of layer have: all of theirs are recorded"
        for wanted, count in counts.items()
        if count
    ]


@dataclass(frozen=True)
class Plan:
    """The size of a dataset. `counts` is by (rule, architecture, task, objective), `layers` by (architecture, objective).

    Both are of the grid's networks; `samples` says what was drawn beside them.
    `missing` says of every task whose data is not there how to get it, `shortages` which electrodes record less than asked.
    """

    name: str
    networks: int
    cohorts: int
    examples: int
    rows: int
    layers: dict[tuple[str, str], int]
    counts: dict[tuple[str, str, str, str], int]
    core_seconds: float
    bytes: int
    missing: tuple[str, ...]
    electrodes: int
    shortages: tuple[str, ...]
    samples: tuple[Drawn, ...] = ()

    @property
    def drawn(self) -> pd.DataFrame:
        """What was drawn: a row per sample block and axis. Numbers have low, median and high, words are counted."""
        rows = [
            {"sample": one.name, "axis": each.name, "draws": each.draws, "low": each.low, "median": each.median}
            | {"high": each.high, "counts": dict(each.counts)}
            for one in self.samples
            for each in one.axes
        ]
        return pd.DataFrame(rows, columns=["sample", "axis", "draws", "low", "median", "high", "counts"])

    @property
    def table(self) -> pd.DataFrame:
        """Networks, a row per architecture, task and objective and a column per rule, beside the number of layers."""
        keys = ["rule", "architecture", "task", "objective"]
        if not self.counts:
            return pd.DataFrame(columns=[*keys[1:], "layers"])
        counts = pd.Series(self.counts, pd.MultiIndex.from_tuples(self.counts, names=keys))
        found = counts.unstack("rule", fill_value=0)[list(dict.fromkeys(rule for rule, *_ in self.counts))]
        layers = [self.layers[architecture, objective] for architecture, _, objective in found.index]
        found.insert(0, "layers", layers)
        return found.reset_index().rename_axis(columns=None)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as it could be written to JSON."""
        names = ("rule", "architecture", "task", "objective", "networks")
        counted = [dict(zip(names, (*key, count), strict=True)) for key, count in self.counts.items()]
        layers = {f"{architecture} {objective}": n for (architecture, objective), n in self.layers.items()}
        return asdict(self) | {"counts": counted, "layers": layers}


def plan(spec: Spec) -> Plan:
    """What `generate` would make of a spec on CPUs, in how many core-seconds, in how many bytes."""
    networks, gridded = spec.networks, spec.gridded
    examples = sum(len(network.sizes) for network in networks)
    rows = examples * spec.checkpoints * len(spec.electrodes)
    cohorts = form_cohorts(networks, probe=spec.probe)
    return Plan(
        name=spec.name,
        networks=len(networks),
        cohorts=len(cohorts),
        examples=examples,
        rows=rows,
        layers={(network.architecture, network.objective): len(network.sizes) for network in gridded},
        counts=dict(Counter((n.rule.label, n.architecture, shown(n.data), n.objective) for n in gridded)),
        core_seconds=sum(cost(members, spec, cohort.compiled) for cohort, members in cohorts),
        bytes=rows * (BYTES_PER_ROW + BYTES_PER_STATISTIC * len(statistics(spec.measured))),
        missing=tuple(filter(None, (tasks.info(data).missing() for data in dict.fromkeys(n.data for n in networks)))),
        electrodes=len(spec.electrodes),
        shortages=tuple(shortages(spec)),
        samples=tuple(drawn(block, shapes) for block, shapes in zip(spec.sample, spec.samples, strict=True)),
    )


def duration(seconds: float) -> str:
    """In the largest unit of which there are at least two."""
    for unit, length in (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds / 60:.1f} minutes"
