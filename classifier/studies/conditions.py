"""How well classes are named under measurement conditions: electrode × sampling × observable × layers, a row for each.

Every condition is scored on the same scenario splits, so differences between conditions are paired. A classifier is
trained either under the condition it is tested under ("same": the experimenter simulates their own recording), or on the
full electrode with the same sampling and observable ("full": what it learned there is transferred to a recording).
Features and hyperparameters are fixed: nothing is chosen, so nothing is chosen better under one condition than another.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples import sampling as samplings
from classifier.examples import splits as splitting
from classifier.examples.features import split_name, suited
from classifier.examples.scenarios import Sharing
from classifier.examples.splits import Fold
from classifier.examples.trajectories import Examples, load
from classifier.models.estimators import FEATURES, Setting, grid
from classifier.models.parallel import parallel
from classifier.models.problem import CURVE, Problem
from classifier.studies.evaluate import Score, score, summarize
from generator.dataset import electrodes
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown
from generator.keys import stream

FULL = electrodes.FULL.name
SAME = "same"
N_SPLITS = 5


@dataclass(frozen=True)
class Condition:
    """What is measured of a network.

    Args:
        electrode: by its name in the dataset.
        sampling: the checkpoints seen, by a name in `sampling`.
        observable: one of the dataset's, "all", or "accuracy": the loss and accuracy curves alone.
        layers: how many layers of each test network vote; networks with fewer keep all; None: all.
    """

    electrode: str = FULL
    sampling: str = samplings.ALL
    observable: str = "all"
    layers: int | None = None


@dataclass(frozen=True)
class _Asked:
    """A condition, and where the classifier tested under it is trained: SAME or FULL."""

    condition: Condition
    trained: str


@dataclass(frozen=True)
class _Study:
    """What all conditions share, and what was found so far.

    Attributes:
        who: network and layer of each example that an electrode has; `kept`: the numbers of those that are studied.
        design: how classes share scenarios, in words, where not all do.
        ratio: tested units per trained one, in the splits.
        turn: (examples,) whose turn it is to vote (`turns`).
        full: the full electrode's classifiers by sampling, observable and split: what transfer needs.
        scores: by asked condition and split.
        units: recorded per layer, geometric mean over examples, by electrode.
        sessions: by sampling.
    """

    model: str
    features: str
    seed: int
    kept: NDArray[np.intp]
    who: pd.DataFrame
    target: str
    design: str
    labels: list[str]
    parts: list[Fold]
    ratio: float
    turn: NDArray[np.intp]
    full: dict[tuple[str, str, int], Any] = field(default_factory=dict)
    scores: dict[tuple[_Asked, int], Score] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)

    def measure(self, electrode: str, examples: Examples, asked: Sequence[_Asked]) -> None:
        """Score what is asked of one electrode, of which these are the examples; sampling by sampling, to save memory.

        What is asked of another electrode, with a classifier of the full one, needs that classifier to be fitted here.
        """
        if not examples.identity[["network_id", "layer"]].equals(self.who):
            raise RequestError(
                f"electrode {electrode!r} measured other networks or layers than the electrodes before it"
            )
        examples = examples.rows(self.kept)
        self.units[electrode] = float(np.exp(np.log(examples.identity["units"]).mean()))
        for sampling in dict.fromkeys(one.condition.sampling for one in asked):
            sampled = samplings.apply(examples, sampling)
            self.sessions[sampling] = sampled.checkpoints
            setting = Setting(suited(self.features, sampled.checkpoints), grid(self.model)[0])
            problem = Problem.of(sampled, self.target, [setting.features])
            here = [one for one in asked if one.condition.sampling == sampling]
            transferred = electrode == FULL and any(one.condition.electrode != FULL for one in here)
            places = [
                (observable, number)
                for observable in dict.fromkeys(one.condition.observable for one in here)
                for number in range(len(self.parts))
            ]
            calls = []
            for observable, number in places:
                of = [one for one in here if one.condition.observable == observable]
                full = self.full.get((sampling, observable, number))
                turn = self.turn[self.parts[number].test]
                calls.append(
                    (
                        self.model,
                        self.seed,
                        setting,
                        electrode,
                        observable,
                        self.parts[number],
                        turn,
                        full,
                        transferred,
                        of,
                    )
                )
            found = parallel(_observe, problem, calls, f"{electrode}, {sampling}")
            for (observable, number), (own, scores) in zip(places, found, strict=True):
                self.scores.update({(one, number): score for one, score in scores.items()})
                if own is not None:
                    self.full[sampling, observable, number] = own

    def row(self, asked: _Asked) -> dict[str, Any]:
        """What was found under one condition."""
        condition = asked.condition
        electrode = electrodes.Electrode.named(condition.electrode)
        scores = [self.scores[asked, number] for number in range(len(self.parts))]
        summary = summarize(scores, self.ratio)
        return {
            "electrode": condition.electrode,
            "units": self.units[condition.electrode],
            "asked_units": np.nan if electrode.units is None else float(electrode.units),
            "noise": electrode.noise,
            "noise_mode": electrode.noise_mode,
            "sampling": condition.sampling,
            "sessions": self.sessions[condition.sampling],
            "observable": condition.observable,
            "layers": condition.layers,
            "trained": asked.trained,
            **{f"{level}_{key}": value for level, found in summary.items() for key, value in found.items()},
            "confusion": np.sum([one.confusion for one in scores], axis=0).tolist(),
        }


def _observe(
    problem: Problem,
    model: str,
    seed: int,
    setting: Setting,
    electrode: str,
    observable: str,
    part: Fold,
    turn: NDArray[np.intp],
    full: Any,
    transferred: bool,
    asked: Sequence[_Asked],
) -> tuple[Any, dict[_Asked, Score]]:
    """Fit and score one observable in one split of what an electrode measured.

    Args:
        turn: (test rows,) whose turn it is to vote.
        full: the full electrode's classifier, where it is another electrode that measured.
        transferred: whether the classifier that is fitted here is needed for other electrodes.
        asked: of this observable.

    Returns:
        The classifier, if it is needed, and the scores of what is asked of this electrode.
    """
    classifiers = {FULL: full}
    if electrode == FULL or any(one.trained == SAME for one in asked):
        classifiers[SAME] = problem.fit(model, [setting], observable, part.train, seed)[0]
        if electrode == FULL:
            classifiers[FULL] = classifiers[SAME]
    here = [one for one in asked if one.condition.electrode == electrode]
    scores = {
        trained: problem.log_scores(classifiers[trained], setting.features, observable, part.test)
        for trained in dict.fromkeys(one.trained for one in here)
    }
    found = {}
    for one in here:
        votes = turn < (one.condition.layers or np.inf)
        found[one] = score(problem, part.test[votes], scores[one.trained][votes])
    return classifiers[FULL] if transferred else None, found


def accuracies(
    dataset: str | os.PathLike[str],
    conditions: Iterable[Condition],
    rules: Sequence[str] | None = None,
    transfer: bool | Literal["both"] = False,
    model: str = "forest",
    features: str = FEATURES[0],
    n_splits: int = N_SPLITS,
    seed: int = 0,
    target: str = "rule",
) -> pd.DataFrame:
    """Balanced accuracy under each condition, over the same scenario splits.

    Args:
        dataset: a dataset's path. Each of its electrodes is read once.
        rules: only networks with these rules; by default all.
        transfer: train on the full electrode instead of the condition's own; "both": the one, and then the other.
        model: a name in `models.MODELS`, with its usual hyperparameters.
        features: transforms joined by "+"; of a single checkpoint the levels are taken instead.
        seed: of splits, classifiers and the layers that vote.
        target: the property to name.

    Returns:
        A row per condition, in order (with "both", a second time for "full"): electrode, units (recorded per layer,
        geometric mean over examples), asked_units (of the electrode; NaN: a fraction, or all), noise, noise_mode, sampling,
        sessions, observable, layers, trained ("same" or "full"), layer_mean, layer_sem, layer_low, layer_high, and the same per
        network (`intervals.corrected`), confusion (counts of networks, true class by row, summed over splits). `attrs` has
        labels, chance, networks, the settings and the design (how classes share scenarios, where not all do).

    Raises:
        RequestError: an unknown name, fewer than two rules or no condition, more sessions than checkpoints, or too few
            networks for the splits.
    """
    conditions = list(dict.fromkeys(conditions))
    _check(conditions, known_electrodes(dataset), str(dataset), n_splits)
    split_name(features)
    grid(model)
    trainings = (SAME, FULL) if transfer == "both" else (FULL,) if transfer else (SAME,)
    asked = [_Asked(condition, trained) for trained in trainings for condition in conditions]
    order = dict.fromkeys([FULL] * (FULL in trainings) + [condition.electrode for condition in conditions])
    examples = load(dataset, next(iter(order)))
    _check_measured(conditions, examples)
    study = _study(examples, rules, model, features, n_splits, seed, target)
    for place, electrode in enumerate(order):
        if place:
            examples = load(dataset, electrode)
        needed = [one for one in asked if electrode in (one.condition.electrode, one.trained)]
        study.measure(electrode, examples, needed)
    labels = study.labels
    table = pd.DataFrame([study.row(one) for one in asked]).astype({"layers": "Int64"})
    errors = [f"{level}_{name}" for level in ("layer", "network") for name in ("sem", "reach", "low", "high")]
    table[errors] = table[errors].astype(float)  # None, of a single split, is NaN
    table.attrs = {
        **{
            "labels": labels,
            "chance": 1 / len(labels),
            "networks": int(study.who["network_id"].iloc[study.kept].nunique()),
        },
        **{"target": target, "model": model, "features": features, "n_splits": n_splits, "seed": seed},
        "design": study.design,
    }
    return table


def known_electrodes(dataset: str | os.PathLike[str]) -> list[str]:
    """The electrodes of a dataset, the full one first. Raises RequestError if there is no dataset."""
    return list((Dataset(dataset).settings() or {}).get("electrodes", [FULL]))


def turns(network_ids: pd.Series, seed: int) -> NDArray[np.intp]:
    """(examples,) the place of each layer in a random order of its network's, from 0: the first L are those that vote.

    Keyed by network and seed; the layers that vote still do when more of them may.
    """
    turn = np.empty(len(network_ids), dtype=np.intp)
    for network, rows in network_ids.groupby(network_ids.to_numpy()).indices.items():
        turn[rows] = stream("layers", seed, str(network)).permutation(len(rows))
    return turn


def _check(conditions: Sequence[Condition], known: Sequence[str], where: str, n_splits: int) -> None:
    """Raises RequestError for what is wrong before any data is read."""
    if not conditions or n_splits < 1:
        raise RequestError("name at least one condition and one split")
    for condition in conditions:
        if condition.electrode not in known:
            raise unknown("electrode", condition.electrode, known, where)
        samplings.Sampling.named(condition.sampling)
        if condition.layers is not None and condition.layers < 1:
            raise RequestError(f"at least one layer of a network must vote, not {condition.layers}")


def _check_measured(conditions: Sequence[Condition], examples: Examples) -> None:
    """Raises RequestError for observables and sessions that the examples do not have."""
    known = ["all", *examples.observables(), CURVE]
    for condition in conditions:
        samplings.possible(condition.sampling, examples.checkpoints)
        if condition.observable not in known:
            raise unknown("observable", condition.observable, known)


def _study(
    examples: Examples, rules: Sequence[str] | None, model: str, features: str, n_splits: int, seed: int, target: str
) -> _Study:
    """What all conditions share, from the examples of any electrode."""
    kept = np.arange(len(examples))
    if rules is not None:
        examples.among(rules)  # says so if that is not possible
        kept = np.flatnonzero(examples.identity["rule"].isin(list(rules)))
    identity = examples.identity.iloc[kept].reset_index(drop=True)
    classes = splitting.labels(identity, target)
    parts = splitting.make(identity, classes, "scenario", n_splits, seed, target)
    ratio = splitting.ratio(parts, splitting.units(identity, "scenario", target))
    who, labels = examples.identity[["network_id", "layer"]], [str(label) for label in np.unique(classes)]
    design, turn = Sharing.of(identity, target).sentence, turns(identity["network_id"], seed)
    return _Study(model, features, seed, kept, who, target, design, labels, parts, ratio, turn)
