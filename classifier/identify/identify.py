"""From a recording to an answer: which rule, how sure, whether it can be told at all, and what it rests on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.scenarios import text
from classifier.examples.trajectories import Examples, Recorded, load, load_each, survey
from classifier.identify import identifier as identifiers
from classifier.identify.identifier import Identifier, Reading, with_prior
from classifier.identify.matching import COMPARING, Measurement, drawn, ladder
from classifier.identify.order import SURE, order
from classifier.identify.outside import doubt
from classifier.models import trust
from generator.dataset.electrodes import Electrode
from generator.dataset.origin import About
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

STRANGE = 0.99  # of held-out networks that lie nearer: beyond, a recording is outside
UNSURE = 0.05  # of held-out networks that are named less surely: below, none of the classes may fit
NOTICED = 0.8  # area under the ROC curve from which a rule that the reference lacks is said to be noticed
HEADS = ("pathway", "update", "objective")  # what is named beside the rule
OF_MANY = ("population",)  # observables that depend on how many stimuli there are
FEWER = 1.5  # times as many or as few stimuli, from which they cannot be compared

Place = str | os.PathLike[str]


@dataclass(frozen=True)
class Taken:
    """A recording, however it came.

    Attributes:
        examples: an area each. `about`: what is known of it.
    """

    examples: Examples
    about: About

    @classmethod
    def of(cls, given: Place | Recorded) -> Taken:
        """A recording, or the dataset of one. Raises RequestError if it is a dataset of simulated networks."""
        if isinstance(given, Recorded):
            return cls(Examples.from_recording(given), given.about)
        about = Dataset(given).recording
        if about is None:
            raise RequestError(
                f"{os.fspath(given)} holds simulated networks, not a recording: `rulescope predict` names their rules"
            )
        return cls(load(given), about)

    @property
    def electrode(self) -> Electrode:
        """What it was measured with."""
        return Electrode.named(self.examples.electrode)


class Reference:
    """A dataset of simulated networks, as recordings are compared with it. What was read is kept as long as this lives."""

    def __init__(self, location: Place, statistics: Sequence[str], target: str) -> None:
        self.dataset = Dataset(location)
        self.dataset.check_simulated("be a reference")
        self.known = survey(self.dataset)
        self.electrodes = [str(name) for name in (self.dataset.settings() or {}).get("electrodes", ())]
        self.statistics = [name for name in statistics if name in self.known.statistics]
        self.target = target
        self._read: dict[str, Examples] = {}

    @cached_property
    def networks(self) -> int:
        """That are complete."""
        return sum(len(table) for table in self.known.networks.values())

    @cached_property
    def labels(self) -> list[str]:
        """The classes of its networks."""
        return sorted(set(map(str, self.dataset.read_kind("networks", [self.target]).column(self.target).to_pylist())))

    def read(self, electrodes: Sequence[str]) -> dict[str, Examples]:
        """The examples as measured with each of them."""
        lacking = [name for name in electrodes if name not in self._read]
        if lacking:
            self._read |= load_each(self.dataset, lacking, only=self.statistics)
        return {name: self._read[name] for name in electrodes}

    def forget(self, electrode: str) -> None:
        """Free the memory of what was read of it."""
        self._read.pop(electrode, None)

    @property
    def stimuli(self) -> int:
        """To which its networks answered."""
        return int((self.dataset.settings() or {}).get("probe", 0))

    def comparable(self, like: Measurement, stimuli: int) -> Measurement:
        """Of the statistics those that mean the same in the reference. Raises RequestError if none is left."""
        names = set(self.known.statistics)
        if not 1 / FEWER <= stimuli / max(self.stimuli, 1) <= FEWER:
            names = {name for name in names if self.known.statistics[name].observable not in OF_MANY}
        return like.among(names)

    def measured(self, like: Measurement, seed: int) -> tuple[Examples, dict[str, float]]:
        """Its networks as a recording was measured, and with which electrodes."""
        shares = ladder(self.electrodes, like.electrode)
        return drawn(self.read(list(shares)), shares, like, seed=seed), shares


def identify(
    recordings: Sequence[Place | Recorded],
    reference: Place,
    target: str = "rule",
    prior: Mapping[str, float] | None = None,
    times: Sequence[float] | None = None,
    features: str | None = None,
    more: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """What a recording says of the rule by which its owner learned, and what it cannot say.

    Args:
        recordings: recordings, or datasets of some; several are of animals that learn alike, and their evidence is pooled.
        reference: a dataset of simulated networks.
        prior: how likely each class is beforehand; what is not named is not possible. By default all are alike.
        times: (sessions,) when sessions were, if the recording does not say.
        features: transforms to read in place of the usual, which do not depend on units of measurement.
        more: whether to say what more units, sessions or areas would bring.

    Returns:
        As it is written to JSON: {reference: {name, networks, labels}, target, prior, recordings: [see `_one`], posterior, set,
        heads: {pathway, update, objective: {class: probability}} of those that vary, pooled: {animals, shared, weight},
        more: [{units, noise, sessions, areas, accuracy, now}], verdict (see there)}.

    Raises:
        RequestError: no recording, one that shares no statistic with the reference, or an unknown name.
    """
    if not recordings:
        raise RequestError("name at least one recording")
    taken = [Taken.of(one) for one in recordings]
    statistics = list(dict.fromkeys(name for one in taken for name in one.examples.statistics))
    against = Reference(reference, statistics, target)
    prior_of(against.labels, prior)  # says so before any work
    answers, logs, found = [], [], []
    for one in taken:
        answer, log, made = _one(one, against, times, features, prior, seed)
        answers.append(answer)
        logs.append(log)
        found.append(made)
    labels, shared = found[0].labels, float(np.mean([made.shared for made in found]))
    if any(made.labels != labels for made in found):
        raise RequestError("networks of other classes could have given each recording: identify them one by one")
    weight = 1 / (1 + (len(taken) - 1) * shared)
    flat = np.log(1 / len(labels))
    pooled = weight * np.sum([log - flat for log in logs], axis=0)
    beforehand = prior_of(labels, prior)
    posterior = np.exp(with_prior(pooled[None] - np.logaddexp.reduce(pooled), beforehand))[0]
    least = float(np.mean([made.least(beforehand) for made in found]))
    inside = trust.members(np.log(np.maximum(posterior, 1e-300))[None], least)[0]
    answer = {
        "reference": {"name": str(against.dataset), "networks": against.networks, "labels": list(labels)},
        "target": target,
        "prior": None if prior is None else dict(zip(labels, _numbers(beforehand), strict=True)),
        "recordings": answers,
        "posterior": dict(zip(labels, posterior.tolist(), strict=True)),
        "set": [label for label, member in zip(labels, inside, strict=True) if member],
        "pooled": {"animals": len(taken), "shared": shared, "weight": weight},
        "heads": _heads(against, labels, posterior) if target == "rule" else {},
        "more": _more(taken[0], against, times, features, seed) if more else [],
    }
    return answer | {"verdict": verdict(answer)}


def prior_of(labels: Sequence[str], prior: Mapping[str, float] | None) -> NDArray[np.float64] | None:
    """(classes,) that sums to 1. Raises RequestError for an unknown class, or a prior that is none."""
    if prior is None:
        return None
    for name in prior:
        if name not in labels:
            raise unknown("class", name, labels, "the prior")
    given = np.array([float(prior.get(label, 0.0)) for label in labels])
    if (given < 0).any() or not np.isfinite(given).all() or given.sum() <= 0:
        raise RequestError("a prior is a number of 0 or more for each class, and not 0 for all")
    return given / given.sum()


def _one(
    taken: Taken,
    against: Reference,
    times: Sequence[float] | None,
    features: str | None,
    prior: Mapping[str, float] | None,
    seed: int,
) -> tuple[dict[str, Any], NDArray[np.float64], Identifier]:
    """What one recording says, its calibrated log-probabilities, and what it was asked with.

    The first is {name, areas, sessions, stimuli, units, noise, notes, measured: {electrodes, statistics, networks, recordings,
    sessions}, warnings, posterior, set, quality, none_of_these, outside: {strangeness, statistics}, order, evidence}.
    """
    about, examples = taken.about, taken.examples
    when = times if times is not None else about.times
    like = against.comparable(Measurement.of(examples, when), about.stimuli)
    measured, shares = against.measured(like, seed)
    reading = Reading.of(like.statistics, like.sessions, like.areas, features)
    made = identifiers.fit(measured, reading, against.target, seed)
    table = reading.table(examples)
    log = made.log_scores(table)[0]
    beforehand = prior_of(made.labels, prior)
    posterior = with_prior(log[None], beforehand)[0]
    code = int(posterior.argmax())
    near = made.near.table(examples)
    strangeness = float(made.neighbourhood.strangeness(near)[0])
    stand = order([about.distances[name] for name in about.areas], when)
    alien = identifiers.strangers(measured, reading, against.target, seed) if len(made.labels) > 2 else {}
    answer = {
        "name": about.name,
        "areas": list(about.areas),
        "sessions": about.sessions,
        "stimuli": about.stimuli,
        "units": [int(count) for count in examples.identity["units"]],
        "noise": dict(about.noise),
        "notes": list(about.notes),
        "measured": {
            "electrodes": shares,
            "statistics": list(like.statistics),
            "networks": int(measured.identity["origin"].nunique()),
            "recordings": len(measured) // like.areas,
            "sessions": "the first checkpoints, one after the other" if like.times is None else "spread over learning",
        },
        "warnings": _warnings(taken, like, shares, against, reading) + _rough(made),
        "posterior": dict(zip(made.labels, np.exp(posterior).tolist(), strict=True)),
        "set": [
            label
            for label, member in zip(
                made.labels, trust.members(posterior[None], made.least(beforehand))[0], strict=True
            )
            if member
        ],
        "quality": {**made.quality, "temperature": made.calibration.temperature, "chance": 1 / len(made.labels)},
        "none_of_these": alien,
        "less_sure": float(np.mean(made.held_out.max(axis=1) < log.max())),
        "outside": {
            "strangeness": strangeness,
            "doubt": doubt(strangeness, stand),
            "statistics": made.neighbourhood.sticking_out(near, made.near.names()),
        },
        "order": stand,
        "evidence": made.spoke(table, code),
    }
    return answer, log, made


def _warnings(
    taken: Taken, like: Measurement, shares: Mapping[str, float], against: Reference, reading: Reading
) -> list[str]:
    """Where the reference is not measured as the recording was, a sentence each."""
    found, electrode = [], taken.electrode
    used = [Electrode.named(name) for name in shares]
    lacking = [name for name in taken.examples.statistics if name not in against.known.statistics]
    left = [
        name
        for name, parts in taken.examples.statistics.items()
        if like.times is not None and parts.observable in COMPARING and name not in lacking
    ]
    if not 1 / FEWER <= taken.about.stimuli / max(against.stimuli, 1) <= FEWER:
        found.append(
            f"the recording has {taken.about.stimuli} stimuli, and networks of the reference answered {against.stimuli}: "
            "statistics of populations depend on how many there are and are not used, and others are noisier in what has fewer"
        )
    if lacking:
        found.append(
            f"the reference lacks {len(lacking)} statistics of the recording, such as {lacking[0]}: they are not used"
        )
    if left:
        found.append(
            f"sessions have times of their own, and the reference compares neighbouring checkpoints: {len(left)} statistics that "
            "compare sessions are not used"
        )
    sizes = [one.units for one in used if one.units is not None]
    if sizes and electrode.units is not None and not min(sizes) <= electrode.units <= max(sizes):
        found.append(
            f"the recording has up to {electrode.units} units, and the nearest electrode of the reference {sizes[0]}"
        )
    noise = used[0].noise
    if electrode.noise_mode == "none":
        found.append(
            "nobody knows how noisy the recording is: without trials the noise of its means cannot be estimated; that of the "
            f"reference is {noise:g}"
        )
    elif abs(noise - electrode.noise) > 0.1 + 0.25 * noise:
        found.append(
            f"noise is {electrode.noise:g} of the signal in the recording, and {noise:g} in the reference, at the nearest"
        )
    if electrode.redraw and not any(one.redraw for one in used):
        found.append("units are others in each session, and the reference follows its units")
    return found + ([reading.warning] if reading.warning else [])


def _rough(made: Identifier) -> list[str]:
    count = made.quality["scenarios"]
    if count >= identifiers.ROUGH:
        return []
    return [f"the reference has {count} scenarios: what is said of probabilities, sets and trust rests on few"]


def _heads(against: Reference, labels: Sequence[str], posterior: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Of pathway, update and objective what the posterior of rules says, where the rule fixes them and they vary."""
    identity = next(iter(against.read(list(against._read)[:1]).values())).identity
    found = {}
    for head in HEADS:
        if head not in identity:
            continue
        of = pd.DataFrame({"rule": text(identity["rule"]), "head": text(identity[head])}).drop_duplicates()
        if of["rule"].duplicated().any() or of["head"].nunique() < 2:
            continue
        value = dict(zip(of["rule"], of["head"], strict=True))
        shares: dict[str, float] = {}
        for label, p in zip(labels, posterior, strict=True):
            shares[value[label]] = shares.get(value[label], 0.0) + float(p)
        found[head] = shares
    return found


def _more(
    taken: Taken,
    against: Reference,
    times: Sequence[float] | None,
    features: str | None,
    seed: int,
) -> list[dict[str, Any]]:
    """[{units, sessions, areas, accuracy}]: what recordings like this one would name with more units, or sessions.

    The first is this recording's own. Accuracy is that of one fold of held-out networks, of a classifier that is trained sooner
    than the one that answers.
    """
    when = times if times is not None else taken.about.times
    now = against.comparable(Measurement.of(taken.examples, when), taken.about.stimuli)
    units, longest = now.electrode.units, against.known.checkpoints
    sizes = {
        one.units for one in map(Electrode.named, against.electrodes) if one.units and units and one.units > 1.2 * units
    }
    lengths = {min(2 * now.sessions, longest), longest} - {now.sessions}
    wanted = [(units, now.sessions), *((size, now.sessions) for size in sorted(sizes)[:2])]
    wanted += [(units, count) for count in sorted(lengths)]
    found = []
    for size, sessions in wanted:
        moments = now.times if sessions == now.sessions else None
        like = replace(now, sessions=sessions, electrode=replace(now.electrode, units=size), times=moments)
        with suppress(RequestError):  # networks may be too small for so many units
            measured, _ = against.measured(like, seed)
            reading = Reading.of(like.statistics, sessions, like.areas, features)
            accuracy = identifiers.accuracy(measured, reading, against.target, seed)
            found.append({"units": size, "sessions": sessions, "areas": now.areas, "accuracy": accuracy})
    return found


def verdict(answer: Mapping[str, Any]) -> dict[str, Any]:
    """{kind, kinds, sentences, set}: in words what the answer amounts to.

    Kinds are those that hold of `outside`, `no learning`, `none of these`, and then one of `cannot tell` and `named`; `kind` is
    the first.
    """
    sentences: list[str] = []
    kinds: dict[str, None] = {}
    for one in answer["recordings"]:
        name, outside, stand = one["name"], one["outside"], one["order"]
        if outside["strangeness"] > STRANGE:
            kinds["outside"] = None
            out = ", ".join(each["statistic"] for each in outside["statistics"][:3])
            sentences.append(
                f"{name} lies outside what was simulated: {outside['strangeness']:.1%} of held-out networks lie nearer"
                + (f"; what sticks out is {out}" if out else "")
            )
        if stand["p"] is None:
            sentences.append(
                f"{name} has {one['sessions']} sessions: too few to see in their order whether anything was learned"
            )
        elif stand["p"] > SURE:
            kinds["no learning"] = None
            sentences.append(f"{name} shows no learning: its sessions stand in no order (p = {stand['p']:.2g})")
        if noticed(one["none_of_these"], "surest") and one["less_sure"] < UNSURE:
            kinds["none of these"] = None
            sentences.append(
                f"{name} may be none of these: {one['less_sure']:.1%} of held-out networks are named less surely, and "
                f"that tells networks of a {answer['target']} that was left out"
            )
        if one["warnings"]:
            count = len(one["warnings"])
            sentences.append(
                f"the reference was not measured as {name} was ({count} {'difference' if count == 1 else 'differences'}): "
                "what is said of trust holds for recordings like the reference's"
            )
    labels, members, target = answer["reference"]["labels"], answer["set"], answer["target"]
    best = max(answer["posterior"], key=lambda name: answer["posterior"][name])
    if len(members) == len(labels):
        sentences.append(f"none of {', '.join(labels)} can be excluded at {trust.LEVEL:.0%}")
    elif len(members) > 1:
        sentences.append(
            f"cannot tell {_and(members)} apart; {_and([x for x in labels if x not in members])} would be rare"
        )
    else:
        sentences.append(f"of the simulated {target}s only {best} is likely: {answer['posterior'][best]:.0%}")
    alien = [one["none_of_these"] for one in answer["recordings"] if one["none_of_these"]]
    if not all(noticed(each, "surest", "distance") for each in alien):
        sentences.append(
            f"a {target} that is none of {', '.join(labels)} would not be noticed: the answer is among these"
        )
    kinds["cannot tell" if len(members) > 1 else "named"] = None
    return {"kind": next(iter(kinds)), "kinds": list(kinds), "sentences": sentences, "set": list(members)}


def noticed(alien: Mapping[str, Mapping[str, float]], *by: str) -> bool:
    """Whether each class that was left out would have been noticed, by one of these (`identifiers.strangers`)."""
    return bool(alien) and min(max(each[name] for name in by) for each in alien.values()) >= NOTICED


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def _numbers(values: NDArray[np.float64] | None) -> list[float]:
    return [] if values is None else values.tolist()
