"""What a `[[sample]]` block drew, for a plan: ranges, medians and counts of every axis, and how often it drew again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from generator.architectures import PARAMETRISED, Family, family
from generator.curricula import tasks
from generator.curricula.pinned import shown
from generator.spec.sampling import OF_NETWORKS, Sample, Shape

TIMES = "×"  # between a word and how often it was drawn
MOST_WORDS = 12  # that are counted one by one


@dataclass(frozen=True)
class Axis:
    """The draws of one axis. Numbers have a low, a median and a high one; words are counted, the most frequent first."""

    name: str
    draws: int
    low: int | float | None = None
    median: int | float | None = None
    high: int | float | None = None
    counts: tuple[tuple[str, int], ...] = ()

    @property
    def words(self) -> str:
        """The counts, as a person reads them."""
        said = [f"{word} {TIMES} {count}" for word, count in self.counts[:MOST_WORDS]]
        more = len(self.counts) - MOST_WORDS
        return ", ".join(said + [f"{more} more"] * (more > 0))


@dataclass(frozen=True)
class Drawn:
    """What a block drew. `again` counts, by limit, the draws that could not be trained and were drawn again.

    `left_out` counts the shapes that a rule cannot train, by the rule and what it needs.
    """

    name: str
    shapes: int
    networks: int
    stack: int
    redrawn: int
    again: dict[str, int]
    left_out: dict[str, int]
    axes: tuple[Axis, ...]

    @property
    def sentences(self) -> list[str]:
        """How many networks a stack holds, and how often it was drawn again."""
        first = f"sample {self.name}: {self.shapes:,} shapes, {self.networks:,} networks, {self.stack:,} of each shape and rule"
        if self.again:
            draws = sum(self.again.values())
            found = [
                f"{first}; {self.redrawn:,} shapes were drawn again, {draws:,} times in all: {_counted(self.again)}"
            ]
        else:
            found = [f"{first}; none was drawn again"]
        if self.left_out:
            pairs = sum(self.left_out.values())
            found.append(
                f"sample {self.name}: {pairs:,} pairs of a shape and a rule are left out: {_counted(self.left_out)}"
            )
        return found


def _counted(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{count:,} {TIMES} {what}" for what, count in counts.items())


def drawn(block: Sample, shapes: Sequence[Shape]) -> Drawn:
    """What a block drew."""
    again = Counter(why for shape in shapes for why in shape.again)
    return Drawn(
        name=block.name,
        shapes=len(shapes),
        networks=sum(len(shape.networks) for shape in shapes),
        stack=block.networks,
        redrawn=sum(bool(shape.again) for shape in shapes),
        again=dict(again.most_common()),
        left_out=dict(Counter(why for shape in shapes for why in shape.left_out).most_common()),
        axes=tuple(_axes(block, shapes)),
    )


def _axes(block: Sample, shapes: Sequence[Shape]) -> Iterable[Axis]:
    """The axes that were drawn, each with what belongs to it: parameters of architectures, and of tasks without end."""
    first = [shape.networks[0] for shape in shapes]
    for name, law in block.laws.items():
        if not isinstance(law, list | dict):
            continue
        if name in OF_NETWORKS:
            yield _axis(name, [getattr(one, name) for shape in shapes for one in shape.networks[: block.networks]])
        elif name == "architecture":
            kinds = [family(one.architecture) for one in first]
            yield _axis(name, [kind.name for kind in kinds])
            yield from _varying([(kind.name, _parameters(kind)) for kind in kinds])
        elif name == "task":
            yield _axis(
                name,
                [shown(one.data).partition(":")[0] if tasks.parameters(one.data) else shown(one.data) for one in first],
            )
            yield from _varying([(one.data.partition(":")[0], tasks.parameters(one.data)) for one in first])
        else:
            yield _axis(name, [getattr(one, name) for one in first])


def _parameters(kind: Family) -> dict[str, Any]:
    """All parameters of an architecture, defaults filled in."""
    known = PARAMETRISED.get(kind.name)
    return known.filled(kind.options) if known else dict(kind.options)


def _varying(found: Sequence[tuple[str, Any]]) -> Iterable[Axis]:
    """The parameters that vary within a kind."""
    for kind in dict.fromkeys(kind for kind, parameters in found if parameters):
        mine = [parameters for name, parameters in found if name == kind]
        for name in dict.fromkeys(name for parameters in mine for name in parameters):
            values = [parameters[name] for parameters in mine if name in parameters]
            if len(set(values)) > 1:
                yield _axis(f"{name} of {kind}", values)


def _axis(name: str, values: Sequence[Any]) -> Axis:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return Axis(name, len(values), min(values), median(values), max(values))
    words = (str(value).lower() if isinstance(value, bool) else str(value) for value in values)
    return Axis(name, len(values), counts=tuple(Counter(words).most_common()))
