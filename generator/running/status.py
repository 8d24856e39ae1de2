"""How far a dataset is, from its files alone: by rule and architecture, how fast, how much longer, and what went wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from generator.dataset.origin import About
from generator.dataset.storage import INFLIGHT, Cohort, Dataset, Outline
from generator.running.hold import living

MOST_ROWS = 24  # architectures, above which families are counted: a sampled design has as many as shapes
Kind = tuple[str, str, str]  # rule, family and architecture of a network
WINDOW = 3600.0  # seconds before the last cohort over which the rate is taken


@dataclass(frozen=True)
class Recorded:
    """What a recording's dataset says of it.

    Args:
        about: its areas, sessions, stimuli, noise and notes.
        units: of each area the fewest and the most that were met in a session; nothing while the dataset is not complete.
    """

    about: About
    units: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Status:
    """What `status` found.

    Args:
        cohorts, complete: how many there are, and how many are done.
        by: what networks are counted by, beside the rule: architecture, or family where there are many architectures.
        planned, states: networks by (rule, architecture or family), and of these by status, where one is recorded.
        failures: networks by reason, of those that failed.
        driver: who makes it: host, pid, at (seconds since 1970); empty if nobody seems to.
        training: of cohorts that are in training, if somebody makes it: cohort, host, pid, begun, …
        rate: networks per second, lately; None before two cohorts are done.
        left: estimated seconds until the rest is done at the pace of late; None if nobody makes it, or not known.
        outdated: a sentence if its networks are of another identity version; their cost is not known then.
        recording: of a recording what is known of it. Nothing is planned, counted or trained there.
        cut_short: whether a compaction was, so that other programs may find rows twice.
    """

    cohorts: int
    complete: int
    by: str
    planned: Mapping[tuple[str, str], int]
    states: Mapping[tuple[str, str], Mapping[str, int]]
    failures: Mapping[str, int]
    driver: Mapping[str, Any]
    training: tuple[Mapping[str, Any], ...]
    rate: float | None
    left: float | None
    outdated: str
    recording: Recorded | None = None
    cut_short: bool = False

    @property
    def networks(self) -> int:
        """Planned in all."""
        return sum(self.planned.values())

    @property
    def recorded(self) -> int:
        """Of these, with a status."""
        return sum(sum(states.values()) for states in self.states.values())


def status(dataset: Dataset) -> Status:
    """Look at a dataset's files. Raises DatasetError if this is no dataset, or a file of it is not readable."""
    cohorts, complete = dataset.cohorts(), dataset.complete()
    if about := dataset.recording:
        return _of_recording(dataset, about)
    counted = _recorded(dataset)
    found, driver = {*complete, *dataset.failed()}, living(dataset)
    outlines = _outlines(dataset, cohorts, () if driver else found)
    planned = Counter[Kind]()
    for (kind, *_), count in counted.items():
        planned[kind] += count
    for cohort in cohorts:
        if cohort.name not in found:
            one = outlines[cohort.name]
            planned.update({(rule, one.family, one.architecture): count for rule, count in one.rules.items()})
    by, which = ("family", 1) if len({kind[2] for kind in planned}) > MOST_ROWS else ("architecture", 2)
    states: dict[tuple[str, str], Counter[str]] = {}
    failures, shown = Counter[str](), Counter[tuple[str, str]]()
    for (kind, status, reason), count in counted.items():
        states.setdefault((kind[0], kind[which]), Counter())[status] += count
        failures[reason] += count if status == "failed" else 0
    for kind, count in planned.items():
        shown[kind[0], kind[which]] += count
    cost = {name: one.cost for name, one in outlines.items()}
    written = {name: at / 1e9 for name, (at, _) in dataset.stamps().items()}
    own = {cohort.name: f"networks/{cohort.name}.parquet" for cohort in cohorts}
    rate, pace = _pace({name: written[file] for name, file in own.items() if file in written}, cost, cohorts)
    rest = sum(cost.get(cohort.name, 0.0) for cohort in cohorts if cohort.name not in complete)
    return Status(
        cohorts=len(cohorts),
        complete=len(complete & own.keys()),
        by=by,
        planned=shown,
        states=states,
        failures=+failures,
        driver=driver,
        training=tuple(_training(dataset, complete)) if driver else (),
        rate=rate,
        left=rest / pace if driver and pace else None,
        outdated=dataset.outdated(),
        cut_short=bool(dataset.layout().leaving) and not driver,
    )


def _recorded(dataset: Dataset) -> Counter[tuple[Kind, str, str]]:
    """Recorded networks by kind, status and reason."""
    found = Counter[tuple[Kind, str, str]]()
    names = ["rule", "family", "architecture", "status", "reason"]
    for table in dataset.records(names):
        plain = pa.table({name: table.column(name).cast(pa.string()) for name in names})
        counts = plain.group_by(names).aggregate([([], "count_all")])
        for *kind, status, reason, count in zip(*(counts.column(i).to_pylist() for i in range(6)), strict=True):
            found[tuple(kind), status, reason] += count
    return found


def _outlines(dataset: Dataset, cohorts: Sequence[Cohort], known: Collection[str]) -> dict[str, Outline]:
    """What cohorts are, as they are recorded. The spec is asked only for those that older versions recorded without.

    Args:
        known: cohorts that need none.
    """
    from generator.spec import planning
    from generator.spec.spec import recorded

    found = {cohort.name: cohort.outline for cohort in cohorts if cohort.outline is not None}
    lacking = [one for one in cohorts if one.outline is None and one.name not in known]
    if lacking:
        spec = recorded(dataset)
        networks = {network.network_id: network for network in spec.networks}
        for cohort in lacking:
            if members := [networks[name] for name in cohort.network_ids if name in networks]:
                found[cohort.name] = planning.outline(members, spec, cohort.compiled)
    nothing = Outline({}, "", "", 0.0)  # of networks that another version's spec made
    return {cohort.name: found.get(cohort.name, nothing) for cohort in cohorts}


def _of_recording(dataset: Dataset, about: About) -> Status:
    """Of a recording. Raises DatasetError if its file cannot be read."""
    cohorts, complete = [cohort.name for cohort in dataset.cohorts()], dataset.complete()
    units: dict[str, tuple[int, int]] = {}
    for name in [name for name in cohorts if name in complete]:
        table = dataset.table("observables", name, ["layer", "units"])
        for row in table.group_by("layer").aggregate([("units", "min"), ("units", "max")]).to_pylist():
            units[row["layer"]] = (row["units_min"], row["units_max"])
    return Status(
        cohorts=len(cohorts),
        complete=len(complete & {*cohorts}),
        by="architecture",
        planned={},
        states={},
        failures={},
        driver={},
        training=(),
        rate=None,
        left=None,
        outdated=dataset.outdated(),
        recording=Recorded(about, units),
    )


def _pace(done: Mapping[str, float], cost: Mapping[str, float], cohorts: Any) -> tuple[float | None, float | None]:
    """Networks, and estimated core-seconds of work, per second between the first and the last cohort of the window."""
    if len(done) < 2:
        return None, None
    last = max(done.values())
    lately = {name: at for name, at in done.items() if at > last - WINDOW}
    first = min(lately, key=lambda name: lately[name])
    seconds = last - lately[first]
    if seconds <= 0:
        return None, None
    size = {cohort.name: len(cohort.network_ids) for cohort in cohorts}
    counted = [name for name in lately if name != first]
    return sum(size[name] for name in counted) / seconds, sum(cost.get(name, 0.0) for name in counted) / seconds


def _training(dataset: Dataset, complete: set[str]) -> list[Mapping[str, Any]]:
    """The signs that workers left of cohorts which are not complete, the oldest first."""
    names = [info.base_name for info in dataset.files(INFLIGHT) if info.base_name.endswith(".json")]
    cohorts = [name.removesuffix(".json") for name in names]
    signs = [
        {"cohort": cohort, **dataset.read_json(f"{INFLIGHT}/{cohort}.json")}
        for cohort in cohorts
        if cohort not in complete
    ]
    whole = [sign for sign in signs if all(isinstance(sign.get(name), str) for name in ("begun", "host"))]
    return sorted(whole, key=lambda sign: str(sign["begun"]))


def ago(at: float) -> str:
    """A time (seconds since 1970) as a person says it."""
    seconds = max(0.0, time.time() - at)
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"
