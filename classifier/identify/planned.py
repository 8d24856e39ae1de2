"""How far answers about recordings of a planned kind may be trusted, before there is one: on networks whose rule is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from classifier.examples.scenarios import scenarios, text
from classifier.examples.trajectories import ACTIVITY, Examples, sets, survey
from classifier.identify import identifier as identifiers
from classifier.identify.identifier import Identifier, Reading
from classifier.identify.identify import Place, Reference
from classifier.identify.matching import DRAW, Measurement, drawn, ladder
from classifier.models import trust
from generator.dataset.electrodes import Electrode
from generator.errors import RequestError, unknown

BETWEEN = ("coupling",)  # observables of two areas
CLASSES = ("population_separability",)  # statistics that ask for classes of stimuli, which few recordings have


def planned(
    reference: Place,
    units: int | None,
    noise: float = 0.0,
    sessions: int | None = None,
    areas: int = 1,
    observables: Sequence[str] = (ACTIVITY,),
    tests: Sequence[Place] = (),
    target: str = "rule",
    features: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What `identify` would be worth for recordings of so many units, sessions and areas.

    Args:
        units: in each area; None for all. `noise`: of stimulus means, relative to the signal.
        sessions: one after the other from the start of learning; None for all.
        observables: that are measured; `activity` is what a recording of units gives.
        tests: datasets of other networks of the same classes, to ask too.

    Returns:
        {reference, target, labels, electrodes, statistics (how many), sessions, areas, networks, quality, nulls,
        none_of_these, tests: {name: quality}}.

    Raises:
        RequestError: an unknown name, or more of something than the reference has.
    """
    electrode = Electrode(units, noise_mode="relative" if noise else "none", noise=noise)
    names = statistics(reference, observables, areas)
    against = Reference(reference, names, target)
    length = sessions or against.known.checkpoints
    like = Measurement(tuple(names), length, areas, electrode)
    measured, shares = against.measured(like, seed)
    made = identifiers.fit(measured, Reading.of(names, length, areas, features), target, seed)
    alien = identifiers.strangers(measured, made.reading, target, seed) if len(made.labels) > 2 else {}
    asked = {}
    for place in tests:
        other = Reference(place, names, target)
        loaded = other.read(list(ladder(other.electrodes, electrode)))
        asked[str(other.dataset)] = _asked(
            made, drawn(loaded, ladder(other.electrodes, electrode), like, seed=seed), target
        )
    return {
        "reference": str(against.dataset),
        "target": target,
        "labels": list(made.labels),
        "electrodes": shares,
        "statistics": len(names),
        "sessions": length,
        "areas": areas,
        "networks": int(measured.identity["origin"].nunique()),
        "quality": {**made.quality, "temperature": made.calibration.temperature, "chance": 1 / len(made.labels)},
        "nulls": _nulls(measured, made.reading, target, seed),
        "none_of_these": alien,
        "tests": asked,
    }


def _nulls(examples: Examples, reading: Reading, target: str, seed: int) -> dict[str, float]:
    """Balanced accuracy of what knows nothing of the rule: before learning, and with classes permuted within scenarios."""
    first = replace(examples, values=examples.values[:, :1], curves=examples.curves[:, :1])
    before = Reading.of(reading.statistics, 1, reading.areas)
    origins = examples.identity.drop_duplicates("origin").reset_index(drop=True)
    unit, rng = scenarios(origins, target), np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(unit)), unit))
    dealt = np.empty(len(unit), dtype=object)
    dealt[np.argsort(unit, kind="stable")] = origins[target].to_numpy()[order]
    permuted = dict(zip(origins["origin"], dealt, strict=True))
    other = examples.identity.assign(**{target: examples.identity["origin"].map(permuted)})
    return {
        "before learning": identifiers.accuracy(first, before, target, seed),
        "permuted": identifiers.accuracy(replace(examples, identity=other), reading, target, seed),
    }


def statistics(reference: Place, observables: Sequence[str] = (ACTIVITY,), areas: int = 1) -> list[str]:
    """Those of the observables that so many areas have, and that need no classes of stimuli.

    Raises RequestError for an unknown observable, or if none is left.
    """
    known = survey(reference).statistics
    groups = sets(known)
    for name in observables:
        if name not in groups:
            raise unknown("observable", name, groups, str(reference))
    wanted = set().union(*(groups[name] for name in observables)) - set(CLASSES)
    found = [name for name in known if name in wanted and (areas > 1 or known[name].observable not in BETWEEN)]
    if not found:
        raise RequestError("one area has no statistics of several: name other observables, or more areas")
    return found


def _asked(made: Identifier, examples: Examples, target: str) -> dict[str, Any]:
    """How good the answers are of other networks, those left out that are of no known class."""
    who = identifiers.one_each(examples, made.reading.areas)
    table = made.reading.table(examples)
    classes = text(who[target])
    known = np.isin(classes, made.labels) & ((who[DRAW] == 0).to_numpy())
    if not known.any():
        raise RequestError(f"no tested network has a {target} of the reference: {', '.join(made.labels)}")
    codes = np.searchsorted(made.labels, classes[known])
    raw = made.raw(table[known])
    logs = made.calibration(raw)
    return trust.quality(logs, codes, trust.members(logs, made.least()), raw)
