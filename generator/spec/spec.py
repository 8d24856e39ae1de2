"""The dataset spec: a TOML file, validated completely before anything runs, expanded to networks with stable identities."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, Field, StrictFloat, StrictInt, StrictStr, ValidationError, field_validator

from generator import architectures, rules, toml
from generator.architectures import family
from generator.architectures.layers import NONLINEARITIES, PRECISIONS
from generator.architectures.network import STEMS, measure
from generator.clusters import site
from generator.curricula import tasks
from generator.curricula.objectives import OBJECTIVES
from generator.curricula.pinned import shown
from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.storage import LONGEST, Dataset
from generator.errors import Problems, RequestError, unknown
from generator.observables import PAPER, chosen
from generator.rules.schedules import SCHEDULES
from generator.spec.electrode_blocks import ElectrodeGrid
from generator.spec.network import NetworkSpec, default_pixels
from generator.toml import Axis, NonNegativeFloat, PositiveFloat, PositiveInt, Table, axis

MOST = 10**6  # networks, a thousand times the paper's: a spec that makes more is a slip
MOST_ELECTRODES = 1000  # each records everything again at every checkpoint
DEFAULT = "the default"  # said of a setting that is recorded only where it is another one


class Snapshots(Table):
    """Raw tensors of the first `networks` networks of every rule × architecture of each block."""

    networks: PositiveInt = 1


Entry = StrictStr | dict[str, Any]  # a name, or a table with one and parameters


class Grid(Table):
    """A cartesian product of axes; every axis takes a scalar or a list."""

    task: Axis[StrictStr]
    architecture: Axis[Entry]
    rule: Axis[Entry]
    objective: Axis[StrictStr] = "supervised"
    nonlinearity: Axis[StrictStr] = "relu"
    width: Axis[Annotated[StrictFloat, Field(gt=0, le=64)]] = 1.0
    stem: Axis[StrictStr] | None = None
    schedule: Axis[StrictStr] = "constant"
    precision: Axis[StrictStr] = "float32"
    batch_size: Axis[PositiveInt] = 128
    learning_rate: Axis[PositiveFloat] = 1.0
    epochs: Axis[PositiveInt] = 40
    pixels: Axis[Annotated[StrictInt, Field(gt=0, le=4096)]] | None = None
    weight_decay: Axis[NonNegativeFloat] | None = None
    seeds: PositiveInt = 1

    @field_validator("task")
    @classmethod
    def _pin(cls, task: str | list[str], about: Any) -> str | list[str]:
        """Each with what is found of its data now. Raises RequestError if that has to be there and is not."""
        pinned = (about.context or {}).get("pinned", tasks.pinned)
        return [pinned(name) for name in task] if isinstance(task, list) else pinned(task)


class Spec(Table):
    """A dataset: what every network of it shares, and the grid of networks."""

    name: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST)]
    root_seed: StrictInt = 0
    checkpoints: Annotated[StrictInt, Field(ge=2, le=2**15 - 1)] = 21
    probe: PositiveInt = 256
    snapshots: Snapshots | None = None
    observables: Annotated[list[StrictStr], Field(min_length=1)] | None = None
    electrode: Annotated[list[ElectrodeGrid], Field(min_length=1)] | None = None
    grid: Annotated[list[Grid], Field(min_length=1)]
    cluster: dict[str, Any] | None = Field(default=None, exclude=True)  # where it is made is no part of a dataset

    def settings(self) -> dict[str, Any]:
        """What every run on one dataset must agree on."""
        kept = self.snapshots.networks if self.snapshots else 0
        shared = {"root_seed": self.root_seed, "checkpoints": self.checkpoints, "probe": self.probe}
        found = shared | {"electrodes": [electrode.name for electrode in self.electrodes], "snapshots": kept}
        return found if self.measured == PAPER else found | {"observables": list(self.measured)}

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """The observables, sets of them spelled out. Raises RequestError for an unknown one."""
        return PAPER if self.observables is None else chosen(self.observables)

    @cached_property
    def electrodes(self) -> list[Electrode]:
        """All measurement conditions, each once, the full one first. Raises RequestError for an impossible one."""
        count = sum(toml.combinations(block) * block.seeds for block in self.electrode or [])
        if count > MOST_ELECTRODES:
            raise RequestError(f"the electrode blocks make {count:,} electrodes, of {MOST_ELECTRODES:,} at most")
        blocks = [each.electrodes(f"electrode block {i}") for i, each in enumerate(self.electrode or [], start=1)]
        return list(dict.fromkeys([FULL, *itertools.chain.from_iterable(blocks)]))

    @cached_property
    def networks(self) -> list[NetworkSpec]:
        """All networks, each once, in the order of the grid. Raises RequestError for an impossible combination."""
        count = sum(toml.combinations(block) * block.seeds**2 for block in self.grid)
        if count > MOST:
            raise RequestError(
                f"the grid makes {count:,} networks, of {MOST:,} at most: give its axes fewer values, or fewer seeds, "
                "which count twice"
            )
        found: dict[str, NetworkSpec] = {}
        problems = Problems()
        for index in range(len(self.grid)):
            with problems:
                found |= {network.network_id: network for network in self._block(index)}
        problems.check()
        return list(found.values())

    @cached_property
    def snapshot_ids(self) -> frozenset[str]:
        """Networks whose raw tensors are kept."""
        chosen: set[str] = set()
        for index in range(len(self.grid) if self.snapshots else 0):
            groups: dict[tuple[str, str], list[str]] = {}
            for network in self._block(index):
                groups.setdefault((network.rule.label, network.architecture), []).append(network.network_id)
            chosen |= {name for group in groups.values() for name in group[: self.snapshots.networks]}  # type: ignore[union-attr]
        return frozenset(chosen)

    def _block(self, index: int) -> list[NetworkSpec]:
        block, where = self.grid[index], f"grid block {index + 1}"
        problems, parsed, built = Problems(), [], []
        for entry in axis(block.rule):
            with problems:
                parsed.append(rules.chosen(entry, where))
        for entry in axis(block.architecture):
            with problems:
                built.append(architectures.chosen(entry, where))
        for name in axis(block.task):
            with problems:
                tasks.info(name, where)
        for kind, names, known in (
            ("objective", block.objective, OBJECTIVES),
            ("nonlinearity", block.nonlinearity, NONLINEARITIES),
            ("schedule", block.schedule, SCHEDULES),
            ("stem", block.stem, STEMS),
            ("precision", block.precision, PRECISIONS),
        ):
            for name in axis(names):
                with problems:
                    if name is not None and name not in known:
                        raise unknown(kind, name, known, where)
        problems.check()
        seeds = list(range(block.seeds))
        axes: dict[str, Any] = {field: getattr(block, field) for field in Grid.model_fields if field != "seeds"}
        axes |= {"rule": parsed, "architecture": built, "model_seed": seeds, "data_seed": seeds}
        networks = []
        for combination in itertools.product(*map(axis, axes.values())):
            chosen: dict[str, Any] = dict(zip(axes, combination, strict=True))
            if chosen["pixels"] is None:
                chosen["pixels"] = default_pixels(chosen["task"], chosen["architecture"])
            if chosen["weight_decay"] is None:
                chosen["weight_decay"] = family(chosen["architecture"]).weight_decay
            if chosen["stem"] is None or not family(chosen["architecture"]).stems:
                chosen["stem"] = family(chosen["architecture"]).default_stem(chosen["pixels"])
            data, chosen["task"] = chosen["task"], tasks.identity(chosen["task"])
            network = NetworkSpec(root_seed=self.root_seed, source=data if data != chosen["task"] else "", **chosen)
            with problems:
                self._check(network, where)
            networks.append(network)
        problems.check()
        return networks

    def _check(self, network: NetworkSpec, where: str) -> None:
        about, task = tasks.info(network.data), shown(network.data)
        if not about.sides and not network.pixels:
            raise RequestError(f"{where}: task {task!r} comes at any size: say how many pixels, as in pixels = 224")
        if about.sides and network.pixels not in about.sides:
            sides = " or ".join(filter(None, (", ".join(map(str, about.sides[:-1])), str(about.sides[-1]))))
            raise RequestError(f"{where}: task {task!r} can be had at {sides} pixels, not at {network.pixels}")
        if about.classes < 2:
            raise RequestError(f"{where}: task {task!r} has one class: there is nothing to tell apart")
        if OBJECTIVES[network.objective].shown > 1 and min(network.batch_size, self.probe) < 2:
            raise RequestError(
                f"{where}: objective {network.objective!r} compares stimuli: batch_size and probe must be 2 or more"
            )
        if network.batch_size > about.train:
            raise RequestError(
                f"{where}: batch_size {network.batch_size} is larger than task {task!r}, "
                f"which has {about.train} training stimuli"
            )
        if self.probe > about.test:
            raise RequestError(f"probe = {self.probe}, but the test part of task {task!r} has {about.test} stimuli")
        if network.steps >= 2**31:
            raise RequestError(
                f"{where}: {network.epochs} epochs make {network.steps} updates, more than can be counted"
            )
        if network.steps < self.checkpoints - 1:
            raise RequestError(
                f"{where}: {network.epochs} epochs of {network.steps_per_epoch} batches make {network.steps} updates, too few "
                f"for {self.checkpoints} checkpoints; raise epochs or lower batch_size"
            )
        try:
            measure(network.family, network.input, network.form)
        except (
            RequestError,
            RuntimeError,
        ) as error:  # the latter is PyTorch's, which has no type for a lack of memory on a CPU
            found = str(error).partition("\n")[0]
            if "allocate memory" in found or "Storage size" in found:
                found = "one such network does not fit into memory"
            raise RequestError(f"{where}: {network.architecture} on {task} at {network.pixels} px: {found}") from error

    def to_toml(self) -> str:
        """The resolved spec, defaults filled in."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def bundled() -> dict[str, Path]:
    """The specs that come with Rulescope, by name: demo, electrodes, …"""
    folders = [
        Path(__file__).parents[2] / "datasets",
        Path(sys.prefix) / "share" / "rulescope",
    ]  # a clone; from a wheel
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def located(path: str | os.PathLike[str]) -> Path | None:
    """Where a spec that comes with Rulescope lies, if that is what a name without a folder and an ending names; else None."""
    name = os.fspath(path)
    return bundled().get(name) if not os.path.isfile(name) else None  # a dataset of its name may lie there


def home(path: str | os.PathLike[str]) -> Dataset | None:
    """The dataset that its folder or URI names, or the spec in its folder; what comes with Rulescope goes before a folder."""
    if located(path):
        return None
    whole = _elsewhere(path) or os.path.isdir(path)
    place, file = (path, "spec.toml") if whole else os.path.split(path)
    dataset = Dataset(place or os.curdir)
    return dataset if file == "spec.toml" and dataset.exists("cohorts.json") else None


def _elsewhere(path: str | os.PathLike[str]) -> bool:
    return "://" in os.fspath(path)


def read(path: str | os.PathLike[str]) -> Spec:
    """Read and validate a spec file, or a dataset's, or one that comes with Rulescope, by its name alone: demo.

    Raises:
        RequestError: the file is missing or no TOML, a key or a name is unknown, a value or a combination impossible.
    """
    if dataset := home(path):
        return recorded(dataset)
    if _elsewhere(path):
        raise RequestError(f"{path} is no dataset; a spec that is not in one is a file here")
    try:
        content = toml.read(located(path) or path)
    except RequestError as error:
        raise RequestError(
            f"cannot read the spec {os.fspath(path)}: {error} (with Rulescope come {', '.join(bundled())})"
        ) from error
    return _parsed(content, os.fspath(path), Path() if located(path) else Path(path).parent)


def recorded(dataset: Dataset) -> Spec:
    """The spec that a dataset was made from. Raises RequestError if it cannot be read, or is not valid."""
    return _parsed(dataset.read("spec.toml"), f"{dataset}/spec.toml")


def _parsed(content: bytes, where: str, base: Path = Path()) -> Spec:
    try:
        return parse(content, base)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error


def of(spec: str | os.PathLike[str] | Mapping[str, Any] | Spec) -> Spec:
    """A spec from a file, from a mapping like one, or as it is. Raises RequestError as `read` does."""
    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, str | os.PathLike):
        return read(spec)
    try:
        text = tomli_w.dumps(dict(spec))
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"the spec holds what a TOML file cannot: {error}") from error
    return parse(text)


def parse(text: str | bytes, base: Path = Path()) -> Spec:
    """A spec from TOML text, or from a file's bytes, validated.

    Folders of data are relative to `base`. Raises RequestError, with all that is wrong.
    """
    try:
        spec = Spec.model_validate(toml.loads(text), context={"pinned": cache(partial(tasks.pinned, base=base))})
    except ValidationError as error:
        problems, found = Problems(), dict[tuple[int | str, ...], Any]()
        for problem in error.errors():  # a value that is neither one thing nor a list of such is reported twice
            if isinstance(found.setdefault(_key(problem), problem)["input"], list):
                found[_key(problem)] = problem
        for problem in found.values():
            with problems:
                raise _sentence(problem) from error
        problems.check()
        raise AssertionError from error
    problems = Problems()
    for expands in (  # and so checks
        lambda: spec.networks,
        lambda: spec.electrodes,
        lambda: spec.measured,
        lambda: site.choose(None, spec.cluster),
    ):
        with problems:
            expands()
    problems.check()
    return spec


def differing(made: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The settings in which two datasets, or a dataset and a spec, differ, with the value of each."""
    for key in {**made, **asked}:
        values = made.get(key, DEFAULT), asked.get(key, DEFAULT)
        if values[0] != values[1]:
            yield key, *values


def _key(problem: Mapping[str, Any]) -> tuple[int | str, ...]:
    """Which key of a spec a problem is about."""
    place = problem["loc"]
    if problem["type"] == "extra_forbidden":
        return place
    last = max((number for number, part in enumerate(place) if part in _KEYS), default=-1)
    return place[: last + 1]


def _sentence(problem: Mapping[str, Any]) -> RequestError:
    """A problem that pydantic found, as one sentence."""
    kept = (*_KEYS, problem["loc"][-1]) if problem["type"] == "extra_forbidden" else _KEYS
    place = [part for part in problem["loc"] if isinstance(part, int) or part in kept]
    owner: type[BaseModel] = Spec
    where = "the spec"
    match place:
        case ["grid", int(index), *rest]:
            owner, where, place = Grid, f"grid block {index + 1}", rest
        case ["electrode", int(index), *rest]:
            owner, where, place = ElectrodeGrid, f"electrode block {index + 1}", rest
        case ["snapshots", *rest] if rest:
            owner, where, place = Snapshots, "[snapshots]", rest
    return toml.sentence(problem, owner, where, place)


_KEYS = {*Spec.model_fields, *Grid.model_fields, *ElectrodeGrid.model_fields, *Snapshots.model_fields}
