"""How well classes are named under measurement conditions: electrode × sampling × observable × layers, a row for each.

Every condition is scored on the same scenario splits, so differences between conditions are paired. A classifier is
trained either under the condition it is tested under ("same": the experimenter simulates their own recording), or on the
full electrode with the same sampling and observable ("full": what it learned there is transferred to a recording).
Features and hyperparameters are fixed: nothing is chosen, so nothing is chosen better under one condition than another.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples import sampling as samplings
from classifier.examples import splits as splitting
from classifier.examples.scenarios import Sharing
from classifier.examples.splits import Fold
from classifier.examples.trajectories import Examples, load
from classifier.models.estimators import Recipe, Setting
from classifier.models.parallel import parallel
from classifier.models.problem import CURVE, Problem
from classifier.studies.evaluate import Score, score, summarize
from classifier.studies.store import Found, Store
from classifier.studies.study import Study
from generator.dataset import electrodes
from generator.dataset.electrodes import Electrode
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown
from generator.keys import stream

FULL = electrodes.FULL.name
SAME = "same"
N_SPLITS = 5
FEATURES = (
    "logdifference+shape",
)  # of one layer at a time; those that compare layers are not measured under noise yet


@dataclass(frozen=True)
class Condition:
    """What is measured of a network.

    Args:
        electrode: by its name in the dataset.
        sampling: the checkpoints seen, by a name in `sampling`.
        observable: one of the dataset's, "all", or "curves": the loss and accuracy curves alone.
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
class _Place:
    """One observable in one fold of what an electrode measured.

    Attributes:
        turn: (test rows,) whose turn it is to vote.
        full: the full electrode's classifier, where it is another electrode that measured.
        needed: whether the classifier that is fitted here is needed for other electrodes.
        asked: of this observable.
    """

    electrode: str
    observable: str
    fold: Fold
    turn: NDArray[np.intp]
    full: Any
    needed: bool
    asked: tuple[_Asked, ...]


@dataclass(frozen=True)
class _Bench:
    """What all conditions share.

    Attributes:
        who: network and layer of each example that an electrode has; `kept`: the numbers of those that are studied.
        ratio: tested units per trained one, in the splits.
        turn: (examples,) whose turn it is to vote (`turns`).
        full: the full electrode's classifiers by sampling, observable and fold: what transfer needs.
    """

    model: str
    study: Study
    kept: NDArray[np.intp]
    who: pd.DataFrame
    folds: list[Fold]
    ratio: float | None
    turn: NDArray[np.intp]
    full: dict[tuple[str, str, int], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str, study: Study, examples: Examples) -> _Bench:
        """From the examples of any electrode. Raises RequestError for rules that they lack, or too few networks."""
        kept = np.arange(len(examples))
        if study.rules is not None:
            examples.among(study.rules)  # says so if that is not possible
            kept = np.flatnonzero(examples.identity["rule"].isin(list(study.rules)))
        identity = examples.identity.iloc[kept].reset_index(drop=True)
        folds = study.folds(identity)
        ratio = splitting.overlap(identity, folds, study.split, study.target)
        turn = turns(identity["network_id"], study.seed)
        return cls(model, study, kept, examples.identity[["network_id", "layer"]], folds, ratio, turn)

    def measure(self, electrode: str, examples: Examples, asked: Sequence[_Asked]) -> dict[_Asked, Found]:
        """What is found under each condition of one electrode, from its examples; sampling by sampling, to save memory.

        What is asked of another electrode, with a classifier of the full one, needs that classifier to be fitted here.
        """
        if not examples.identity[["network_id", "layer"]].equals(self.who):
            raise RequestError(
                f"electrode {electrode!r} measured other networks or layers than the electrodes before it"
            )
        examples, found = examples.rows(self.kept), dict[_Asked, Found]()
        for sampling in dict.fromkeys(one.condition.sampling for one in asked):
            sampled = samplings.apply(examples, sampling)
            setting = self.study.setting(self.model, sampled)
            problem = Problem.of(sampled, self.study.target, [setting.features])
            here = [one for one in asked if one.condition.sampling == sampling]
            needed = electrode == FULL and any(one.condition.electrode != FULL for one in here)
            places = {}
            for observable in dict.fromkeys(one.condition.observable for one in here):
                of = tuple(one for one in here if one.condition.observable == observable)
                for number, fold in enumerate(self.folds):
                    key = (sampling, observable, number)
                    places[key] = _Place(
                        electrode, observable, fold, self.turn[fold.test], self.full.get(key), needed, of
                    )
            calls = [(self.study.recipe(self.model), setting, place) for place in places.values()]
            scores: dict[_Asked, list[Score]] = {}
            observed = parallel(_observe, problem, calls, f"{electrode}, {sampling}")
            for key, (classifier, by_asked) in zip(places, observed, strict=True):
                for one, found_there in by_asked.items():
                    scores.setdefault(one, []).append(found_there)
                if classifier is not None:
                    self.full[key] = classifier
            found |= {one: described(problem, each, self.ratio) for one, each in scores.items()}
        return found


def described(problem: Problem, scores: Sequence[Score], ratio: float | None) -> Found:
    """What was found under one condition, as a store keeps it.

    Args:
        scores: a score per fold.
        ratio: as `intervals.corrected` takes it.

    Returns:
        {units (recorded per layer, geometric mean over examples), sessions, networks, labels, design (how classes share
        scenarios, where not all do), layer_mean, layer_sem, layer_reach, layer_low, layer_high, the same per network, confusion}.
    """
    identity = problem.examples.identity
    summary = summarize(scores, ratio)
    return {
        "units": float(np.exp(np.log(identity["units"]).mean())) if "units" in identity else None,
        "sessions": problem.examples.checkpoints,
        "networks": int(identity["network_id"].nunique()),
        "labels": list(problem.labels),
        "design": Sharing.of(identity, problem.target).sentence,
        **{f"{level}_{key}": value for level, one in summary.items() for key, value in one.items()},
        "confusion": np.sum([one.confusion for one in scores], axis=0).tolist(),
    }


def _observe(problem: Problem, recipe: Recipe, setting: Setting, place: _Place) -> tuple[Any, dict[_Asked, Score]]:
    """Fit and score one observable in one fold: the classifier, if it is needed, and what is asked of this electrode."""
    fold, observable = place.fold, place.observable
    classifiers = {FULL: place.full}
    if place.electrode == FULL or any(one.trained == SAME for one in place.asked):
        classifiers[SAME] = problem.fit(recipe, [setting], observable, fold.train)[0]
        if place.electrode == FULL:
            classifiers[FULL] = classifiers[SAME]
    here = [one for one in place.asked if one.condition.electrode == place.electrode]
    scores = {
        trained: problem.log_scores(classifiers[trained], setting.features, observable, fold.test)
        for trained in dict.fromkeys(one.trained for one in here)
    }
    found = {}
    for one in here:
        votes = place.turn < (one.condition.layers or np.inf)
        found[one] = score(problem, fold.test[votes], scores[one.trained][votes])
    return classifiers[FULL] if place.needed else None, found


def asked_of(study: Study, condition: Condition, trained: str = SAME) -> dict[str, Any]:
    """What a store calls a score: of what, and on which split."""
    rules = None if study.rules is None else sorted(set(study.rules))
    return {**asdict(condition), "trained": trained, "target": study.target, "rules": rules, "split": study.split}


def accuracies(
    dataset: str | os.PathLike[str],
    conditions: Iterable[Condition],
    model: str = "forest",
    study: Study = Study(features=FEATURES, n_splits=N_SPLITS),
    transfer: bool | Literal["both"] = False,
    store: Store | None = None,
) -> pd.DataFrame:
    """Balanced accuracy under each condition, over the same splits.

    Args:
        dataset: a dataset's path. Each of its electrodes is read once, and only if something of it is not in the store.
        model: a name in `estimators.MODELS`, with its usual hyperparameters.
        study: what is named, and on which split; conditions say how it is measured.
        transfer: train on the full electrode instead of the condition's own; "both": the one, and then the other.
        store: of this model and study: what it has is not measured again, and it keeps the rest, electrode by electrode.

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
    _check(conditions, known_electrodes(dataset), str(dataset))
    study.check([model])
    store = store or Store(None, model, study)
    trainings = (SAME, FULL) if transfer == "both" else (FULL,) if transfer else (SAME,)
    asked = {
        _Asked(condition, trained): asked_of(study, condition, trained)
        for trained in trainings
        for condition in conditions
    }
    missing = [one for one, about in asked.items() if store.get(about) is None]
    order = [FULL] * any(one.trained == FULL for one in missing) + [one.condition.electrode for one in missing]
    bench = None
    for electrode in dict.fromkeys(order):
        examples = load(dataset, electrode)
        if bench is None:
            _check_measured(conditions, examples)
            bench = _Bench.of(model, study, examples)
        needed = [one for one in missing if electrode in (one.condition.electrode, one.trained)]
        found = bench.measure(electrode, examples, needed)
        store.keep([(asked[one], each) for one, each in found.items()])
    return _table({one: store.get(about) or {} for one, about in asked.items()}, model, study)


def _table(found: Mapping[_Asked, Found], model: str, study: Study) -> pd.DataFrame:
    """A row per condition and training."""
    rows, common = [], Found()
    for one, each in found.items():
        condition = one.condition
        electrode = Electrode.named(condition.electrode)
        common = {name: each[name] for name in ("labels", "networks", "design")}
        about = {
            "electrode": condition.electrode,
            "units": each["units"],
            "asked_units": np.nan if electrode.units is None else float(electrode.units),
            "noise": electrode.noise,
            "noise_mode": electrode.noise_mode,
            "sampling": condition.sampling,
            "sessions": each["sessions"],
            "observable": condition.observable,
            "layers": condition.layers,
            "trained": one.trained,
        }
        rows.append(about | {name: value for name, value in each.items() if name not in {*about, *common}})
    table = pd.DataFrame(rows).astype({"layers": "Int64"})
    errors = [f"{level}_{name}" for level in ("layer", "network") for name in ("sem", "reach", "low", "high")]
    table[errors] = table[errors].astype(float)  # None, of a single split, is NaN
    settings = {"target": study.target, "model": model, "features": study.features[0], "n_splits": study.n_splits}
    table.attrs.update(common, chance=1 / len(common["labels"]), **settings, seed=study.seed)
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


def _check(conditions: Sequence[Condition], known: Sequence[str], where: str) -> None:
    """Raises RequestError for what is wrong before any data is read."""
    if not conditions:
        raise RequestError("name at least one condition")
    for condition in conditions:
        if condition.electrode not in known:
            raise unknown("electrode", condition.electrode, known, where)
        samplings.Sampling.named(condition.sampling)
        if condition.layers is not None and condition.layers < 1:
            raise RequestError(f"at least one layer of a network must vote, not {condition.layers}")


def _check_measured(conditions: Sequence[Condition], examples: Examples) -> None:
    """Raises RequestError for observables and sessions that the examples do not have."""
    known = [*examples.sets(), CURVE]
    for condition in conditions:
        samplings.possible(condition.sampling, examples.checkpoints)
        if condition.observable not in known:
            raise unknown("observable", condition.observable, known)
