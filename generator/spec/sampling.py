"""The `[[sample]]` blocks of a spec: shapes drawn at random, each trained under every rule from equal weights.

Keys of the draws. What fixes a shape is drawn from `stream("sample", root seed, block, shape, attempt, axis)`, and what its
networks differ in from `stream("sample", root seed, block, shape, "network", network, axis)`: the block by its name, shape and
network by their numbers. So more shapes, more networks of each, more rules and further blocks leave all that was drawn before
as it is, and an axis that is added moves no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from pydantic import Field, StrictStr, field_validator

from generator import architectures, rules
from generator.curricula import tasks
from generator.curricula.families import FAMILIES
from generator.curricula.families.contract import NUMBERS
from generator.errors import Problems, RequestError, unknown
from generator.keys import stream
from generator.spec import laws
from generator.spec.building import WORDS, Impossible, Unfit, build, check, check_words
from generator.spec.grid import Entry, Pixels, Width, pinned
from generator.spec.laws import SampleAxis
from generator.spec.network import NetworkSpec
from generator.toml import Axis, NonNegativeFloat, PositiveFloat, PositiveInt, Table, axis

LONGEST = 255  # characters of a block's name
ATTEMPTS = 100  # draws of one shape, after which nothing possible is thought to be there
SEEDS = 10**9  # so many there are to draw from: two networks do not start alike by chance
OF_NETWORKS = ("learning_rate", "weight_decay")  # axes that a shape's networks differ in, beside their seeds
REALS = ("width", *OF_NETWORKS)
_NO_AXES = ("name", "shapes", "networks", "most_flops", "rule")


@dataclass(frozen=True)
class Shape:
    """A shape: its number, what was drawn of it, which limits its earlier draws met, and its networks, rule by rule.

    `left_out` says of each rule that cannot train it what it needs.
    """

    number: int
    drawn: Mapping[str, Any]
    again: tuple[str, ...]
    left_out: tuple[str, ...]
    networks: tuple[NetworkSpec, ...]


class Sample(Table):
    """Shapes drawn from the product of laws; every axis but the rule takes a scalar, a list (a choice) or a distribution.

    `name` keys the draws. It is the spec's name and the block's number, drawn-1, unless the spec says another one.
    """

    name: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST)] = ""
    shapes: PositiveInt
    networks: PositiveInt = 1
    most_flops: PositiveFloat | None = None
    rule: Axis[Entry]
    task: SampleAxis[Entry]
    architecture: SampleAxis[Entry]
    objective: SampleAxis[StrictStr] = "supervised"
    nonlinearity: SampleAxis[StrictStr] = "relu"
    width: SampleAxis[Width] = 1.0
    stem: SampleAxis[StrictStr] | None = None
    schedule: SampleAxis[StrictStr] = "constant"
    precision: SampleAxis[StrictStr] = "float32"
    batch_size: SampleAxis[PositiveInt] = 128
    learning_rate: SampleAxis[PositiveFloat] = 1.0
    epochs: SampleAxis[PositiveInt] = 40
    pixels: SampleAxis[Pixels] | None = None
    weight_decay: SampleAxis[NonNegativeFloat] | None = None

    @field_validator("task")
    @classmethod
    def _pin(cls, task: Any, about: Any) -> Any:
        return pinned(task, about)

    @property
    def laws(self) -> dict[str, Any]:
        """The axes that are drawn, with what the spec says of them."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in _NO_AXES}

    def count(self) -> int:
        """How many networks it makes at most; makes none."""
        return self.shapes * self.networks * len(axis(self.rule))

    def drawn(self, where: str, *, root_seed: int, probe: int, checkpoints: int) -> Iterator[Shape]:
        """Its shapes in turn. Raises RequestError for what is no name, law or parameter, or for a shape that cannot be."""
        parsed = self._checked(where)
        possible = partial(check, where=where, probe=probe, checkpoints=checkpoints)
        for number in range(self.shapes):
            yield self._shape(number, parsed, root_seed, possible, where)

    def _shape(
        self,
        number: int,
        parsed: list[rules.Rule],
        root_seed: int,
        possible: Callable[[NetworkSpec], None],
        where: str,
    ) -> Shape:
        again: list[str] = []
        for attempt in range(ATTEMPTS):
            drawn = {
                name: self._value(name, root_seed, number, attempt) for name in self.laws if name not in OF_NETWORKS
            }
            first = build(root_seed, {**drawn, "rule": parsed[0], "weight_decay": None})
            try:
                fitting, unfit = _fitting(first, parsed, possible)
                self._check_flops(first, where)
            except Impossible as error:
                again.append(error.why)
                last = error
            else:
                networks = self._networks(drawn, fitting, root_seed, number)
                return Shape(number, drawn, tuple(again), tuple(unfit), networks)
        counted = ", ".join(f"{why} ({count} times)" for why, count in Counter(again).most_common())
        raise RequestError(
            f"{where}: shape {number} was drawn {ATTEMPTS} times, and none can be trained: {counted}; the last: {last}"
        ) from last

    def _networks(
        self, drawn: Mapping[str, Any], parsed: list[rules.Rule], root_seed: int, number: int
    ) -> tuple[NetworkSpec, ...]:
        differing = []
        for i in range(self.networks):
            key = ("sample", root_seed, self.name, number, "network", i)
            one = {name: _real(laws.draw(getattr(self, name), stream(*key, name).random())) for name in OF_NETWORKS}
            seeds = {name: int(stream(*key, name).integers(SEEDS)) for name in ("model_seed", "data_seed")}
            differing.append(one | seeds)
        return tuple(
            build(root_seed, {**drawn, **one, "rule": rule, "sampled": True}) for rule in parsed for one in differing
        )

    def _value(self, name: str, root_seed: int, number: int, attempt: int) -> Any:
        share = partial(_share, root_seed, self.name, number, attempt, name)
        value = laws.draw(getattr(self, name), share())
        if name == "architecture" and isinstance(value, dict):
            parameters = {key: laws.draw(law, share(value["name"], key)) for key, law in value.items() if key != "name"}
            return architectures.chosen({"name": value["name"], **parameters})
        if name == "architecture":
            return architectures.chosen(value)
        if name == "task" and isinstance(value, dict):
            families = axis(value["family"])
            index = min(int(share("number") * value["count"]), value["count"] - 1)
            return f"{families[index % len(families)]}:{index // len(families)}"
        return _real(value) if name in REALS else value

    def _check_flops(self, network: NetworkSpec, where: str) -> None:
        if self.most_flops is not None and network.flops > self.most_flops:
            raise Impossible(
                "more than most_flops",
                f"{where}: {network.architecture} on {network.task} takes {network.flops:.2g} floating-point operations to "
                f"train, of {self.most_flops:g} at most",
            )

    def _checked(self, where: str) -> list[rules.Rule]:
        """The rules. Raises RequestError, with all that is wrong with the names and tables of the block."""
        problems, parsed = Problems(), []
        for entry in axis(self.rule):
            with problems:
                parsed.append(rules.chosen(entry, where))
        for entry in _options(self.architecture):
            with problems:
                _check_architecture(entry, where)
        for entry in _options(self.task):
            with problems:
                _check_task(entry, where)
        check_words({kind: _options(getattr(self, kind)) for kind in WORDS}, problems, where)
        problems.check()
        return parsed


def _fitting(
    network: NetworkSpec, parsed: list[rules.Rule], possible: Callable[[NetworkSpec], None]
) -> tuple[list[rules.Rule], list[str]]:
    """The rules that can train a network, and what each of the others needs. Raises Impossible if none can, or it cannot be."""
    fitting, unfit = [], []
    for rule in parsed:
        try:
            possible(replace(network, rule=rule))
        except Unfit as error:
            unfit.append(f"{rule.label} {error.why}")
            last = error
        else:
            fitting.append(rule)
    if not fitting:
        raise last
    return fitting, unfit


def _share(*parts: str | int) -> float:
    """A number between 0 and 1 that follows from these."""
    return float(stream("sample", *parts).random())


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def _options(value: Any) -> list[Any]:
    """All values of an axis of names."""
    return list(value["choice"]) if laws.is_law(value) else axis(value)


def _check_architecture(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        architectures.chosen(entry, where)
        return
    problems, scalars = Problems(), {}
    for key, law in entry.items():
        if key == "name" or not isinstance(law, list | dict):
            scalars[key] = law
            continue

        def valid(value: Any, key: str = key) -> Any:
            architectures.chosen({"name": entry.get("name"), key: value}, where)
            return value

        with problems:
            try:
                laws.checked({"choice": law} if isinstance(law, list) else law, valid)
            except RequestError as error:
                if where in str(error):
                    raise
                raise RequestError(
                    f"parameter {key!r} of architecture {entry.get('name')!r} in {where}: {error} (found {law!r})"
                ) from error
    with problems:
        architectures.chosen(scalars, where)
    problems.check()


def _check_task(entry: Any, where: str) -> None:
    if isinstance(entry, str):
        tasks.info(entry, where)
        return
    for key in entry:
        if key not in ("family", "count"):
            raise unknown("key", key, ("family", "count"), f"a task of {where}")
    families, count = axis(entry.get("family", [])), entry.get("count")
    if not families:
        raise RequestError(
            f'a task in {where} is a name or a table with families, such as {{family = ["mixture", "teacher"], count = 100}}'
        )
    for name in families:
        if not isinstance(name, str) or name not in FAMILIES:
            raise unknown("family of tasks", str(name), FAMILIES, where)
    most = NUMBERS * len(families)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        raise RequestError(f"a task's count in {where} must be a whole number from 1 to {most}, not {count!r}")
