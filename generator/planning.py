"""What a spec amounts to: its cohorts, and what they will cost. Runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from generator.dataset import Cohort
from generator.keys import digest
from generator.spec import NetworkSpec, Spec

MAX_STACK = 16  # more do not fit a core's cache: an mlp3 stack of 256 trains slower per network than one of 16
CONV_STACK = 4  # convolutions run network by network on a CPU, so a stack only shares the overhead

# Measured on one 2.6 GHz server core; a plan says how long, a benchmark says how fast.
FLOPS_PER_SECOND = 40e9
SECONDS_PER_ELEMENT = 30e-9  # all statistics of one measured element
SECONDS_PER_STEP = 1e-4  # overhead of an update, per network of a stack
BYTES_PER_ROW = 260


def form_cohorts(networks: Iterable[NetworkSpec]) -> list[tuple[Cohort, list[NetworkSpec]]]:
    """Group networks that can be trained as one stack, in evenly sized cohorts, named by what is in them."""
    groups: dict[Any, list[NetworkSpec]] = {}
    for network in networks:
        groups.setdefault(network.stack_key, []).append(network)
    return [named(part) for group in groups.values() for part in _parts(group)]


def named(members: Sequence[NetworkSpec]) -> tuple[Cohort, list[NetworkSpec]]:
    """The cohort of these networks."""
    first, ids = members[0], tuple(member.network_id for member in members)
    name = f"{first.rule.label}-{first.architecture}-{first.task}-{digest(' '.join(sorted(ids)), 5)}"
    return Cohort(name.replace("+", "_"), ids), list(members)


def _parts(group: list[NetworkSpec]) -> list[list[NetworkSpec]]:
    convolutional = any(size.macs > size.weights for size in group[0].sizes)
    count = -(-len(group) // (CONV_STACK if convolutional else MAX_STACK))
    bounds = [round(i * len(group) / count) for i in range(count + 1)]
    return [group[a:b] for a, b in pairwise(bounds)]


def cost(network: NetworkSpec, checkpoints: int, probe: int) -> float:
    """Estimated seconds of one core for one network: 3 products per layer and update, and the statistics."""
    macs = sum(size.macs for size in network.sizes)
    training = 6 * macs * network.batch_size * network.steps / FLOPS_PER_SECOND + SECONDS_PER_STEP * network.steps
    elements = sum(size.weights + size.units * probe for size in network.sizes)
    return training + checkpoints * elements * SECONDS_PER_ELEMENT


@dataclass(frozen=True)
class Plan:
    """The size of a dataset. `counts` is by (rule, architecture, task, objective); `layers` is by architecture."""

    name: str
    networks: int
    cohorts: int
    examples: int
    rows: int
    layers: dict[str, int]
    counts: dict[tuple[str, str, str, str], int]
    core_seconds: float
    bytes: int


def plan(spec: Spec) -> Plan:
    """What `generate` would make of a spec, in how many core-seconds, in how many bytes."""
    networks = spec.networks
    examples = sum(len(network.sizes) for network in networks)
    return Plan(
        name=spec.name,
        networks=len(networks),
        cohorts=len(form_cohorts(networks)),
        examples=examples,
        rows=examples * spec.checkpoints,
        layers={network.architecture: len(network.sizes) for network in networks},
        counts=dict(Counter((n.rule.label, n.architecture, n.task, n.objective) for n in networks)),
        core_seconds=sum(cost(network, spec.checkpoints, spec.probe) for network in networks),
        bytes=examples * spec.checkpoints * BYTES_PER_ROW,
    )
