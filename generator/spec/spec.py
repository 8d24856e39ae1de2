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
from pydantic import BaseModel, Field, StrictInt, StrictStr, ValidationError, field_validator

from generator import plugins, toml
from generator.clusters import site
from generator.curricula import tasks
from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.layout import LONGEST
from generator.dataset.storage import Dataset
from generator.errors import Problems, RequestError
from generator.observables import PAPER, chosen
from generator.spec.electrode_blocks import ElectrodeGrid
from generator.spec.grid import Grid
from generator.spec.network import NetworkSpec
from generator.spec.sampling import Sample, Shape
from generator.toml import PositiveInt, Table

MOST = 10**6  # networks, a thousand times the paper's: a spec that makes more is a slip
MOST_ELECTRODES = 1000  # each records everything again at every checkpoint
DEFAULT = "the default"  # said of a setting that is recorded only where it is another one


class Snapshots(Table):
    """Raw tensors of the first `networks` networks of every rule × architecture of each block."""

    networks: PositiveInt = 1


class Spec(Table):
    """A dataset: what every network of it shares, and the blocks that make its networks."""

    name: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST)]
    plugins: Annotated[list[StrictStr], Field(min_length=1)] | None = None  # before all that names what they bring
    root_seed: StrictInt = 0
    checkpoints: Annotated[StrictInt, Field(ge=2, le=2**15 - 1)] = 21
    probe: PositiveInt = 256
    snapshots: Snapshots | None = None
    observables: Annotated[list[StrictStr], Field(min_length=1)] | None = None
    electrode: Annotated[list[ElectrodeGrid], Field(min_length=1)] | None = None
    grid: Annotated[list[Grid], Field(min_length=1)] = Field(default_factory=list)
    sample: Annotated[list[Sample], Field(min_length=1)] = Field(default_factory=list)
    cluster: dict[str, Any] | None = Field(default=None, exclude=True)  # where it is made is no part of a dataset

    @field_validator("plugins")
    @classmethod
    def _run(cls, entries: list[str] | None, about: Any) -> list[str] | None:
        """Run those that a person's spec names, and keep the name and the hash of each. A dataset's own spec runs none."""
        context = about.context or {}
        run = plugins.needed if context.get("recorded") else partial(plugins.named, base=context.get("base", Path()))
        return entries and [run(entry).pinned for entry in entries]

    @field_validator("sample")
    @classmethod
    def _name(cls, blocks: list[Sample], about: Any) -> list[Sample]:
        """A block without a name has the spec's name and its number for one, and keeps it when a merge moves it.

        So two datasets draw other shapes and weights, unless they are told to draw the same.
        """
        spec = about.data.get("name", "")
        return [
            block if block.name else block.model_copy(update={"name": f"{spec}-{number}"})
            for number, block in enumerate(blocks, start=1)
        ]

    def settings(self) -> dict[str, Any]:
        """What every run on one dataset must agree on."""
        kept = self.snapshots.networks if self.snapshots else 0
        shared = {"root_seed": self.root_seed, "checkpoints": self.checkpoints, "probe": self.probe}
        found = shared | {"electrodes": [electrode.name for electrode in self.electrodes], "snapshots": kept}
        if brought := [said for name in self.measured if (said := plugins.origin("OBSERVABLES", name))]:
            found["plugins"] = brought
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
        """All networks, each once, in the order of the blocks, grids first. Raises RequestError for an impossible combination."""
        return list({network.network_id: network for block in self._blocks for network in block}.values())

    @property
    def gridded(self) -> list[NetworkSpec]:
        """Those of the `[[grid]]` blocks, each once."""
        blocks = self._blocks[: len(self.grid)]
        return list({network.network_id: network for block in blocks for network in block}.values())

    @cached_property
    def samples(self) -> list[list[Shape]]:
        """The shapes of every `[[sample]]` block. Raises RequestError for what cannot be drawn."""
        problems, found = Problems(), []
        for index, block in enumerate(self.sample, start=1):
            with problems:
                found.append(list(block.drawn(f"sample block {index}", **self._limits)))
        problems.check()
        return found

    @cached_property
    def snapshot_ids(self) -> frozenset[str]:
        """Networks whose raw tensors are kept."""
        chosen: set[str] = set()
        for block in self._blocks if self.snapshots else []:
            groups: dict[tuple[str, str], list[str]] = {}
            for network in block:
                groups.setdefault((network.rule.label, network.architecture), []).append(network.network_id)
            chosen |= {name for group in groups.values() for name in group[: self.snapshots.networks]}  # type: ignore[union-attr]
        return frozenset(chosen)

    @property
    def _limits(self) -> dict[str, int]:
        return {"root_seed": self.root_seed, "probe": self.probe, "checkpoints": self.checkpoints}

    @cached_property
    def _blocks(self) -> list[list[NetworkSpec]]:
        """The networks of every block."""
        if not self.grid and not self.sample:
            raise RequestError("the spec needs a value for 'grid' or 'sample': a block of either")
        count = sum(block.count() for block in self.grid) + sum(block.count() for block in self.sample)
        if count > MOST:
            fewer = ["give its axes fewer values, or fewer seeds, which count twice"] * bool(self.grid)
            fewer += ["draw fewer shapes, or fewer networks of each"] * bool(self.sample)
            what = " and the ".join(["grid"] * bool(self.grid) + ["sample"] * bool(self.sample))
            verb = "make" if self.grid and self.sample else "makes"
            raise RequestError(f"the {what} {verb} {count:,} networks, of {MOST:,} at most: {'; or '.join(fewer)}")
        problems, found = Problems(), []
        for index, block in enumerate(self.grid, start=1):
            with problems:
                found.append(block.networks(f"grid block {index}", **self._limits))
        with problems:
            found += [[network for shape in block for network in shape.networks] for block in self.samples]
        problems.check()
        return found

    def to_toml(self) -> str:
        """The resolved spec, defaults filled in."""
        found = self.model_dump(exclude_none=True)
        return tomli_w.dumps({key: value for key, value in found.items() if value != []})


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
    """The spec that a dataset was made from. Raises RequestError if it has none, or it cannot be read, or is not valid."""
    dataset.check_simulated("be made from a spec")
    return _parsed(dataset.read("spec.toml"), f"{dataset}/spec.toml", Path(), recorded=True)


def _parsed(content: bytes, where: str, base: Path, recorded: bool = False) -> Spec:
    try:
        return parse(content, base, recorded)
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


def parse(text: str | bytes, base: Path = Path(), recorded: bool = False) -> Spec:
    """A spec from TOML text, or from a file's bytes, validated.

    Folders of data, and plugins, are relative to `base`. Raises RequestError, with all that is wrong.

    Args:
        recorded: it came with a dataset, so that nothing that it names may run.
    """
    plugins.installed()
    try:
        context = {"base": base, "recorded": recorded, "pinned": cache(partial(tasks.pinned, base=base))}
        spec = Spec.model_validate(toml.loads(text), context=context)
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
        case ["sample", int(index), *rest]:
            owner, where, place = Sample, f"sample block {index + 1}", rest
        case ["electrode", int(index), *rest]:
            owner, where, place = ElectrodeGrid, f"electrode block {index + 1}", rest
        case ["snapshots", *rest] if rest:
            owner, where, place = Snapshots, "[snapshots]", rest
    return toml.sentence(problem, owner, where, place)


_KEYS = {
    *Spec.model_fields,
    *Grid.model_fields,
    *Sample.model_fields,
    *ElectrodeGrid.model_fields,
    *Snapshots.model_fields,
}
