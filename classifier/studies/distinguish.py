"""Which classes can be told apart where there are many, and what one that was never seen is taken for.

Everything rests on networks of test parts, or of another dataset. A classifier's *vote* of a network is the mean of its layers'
log scores, one number per class.

- A pair of classes is judged by its own two votes on scenarios that have both: the share of networks of either whose own vote is
  the larger, the mean of both.
- A pair is *not told apart* if the lower end of the 95 % interval of that share is not above ½. The interval is over scenarios
  that are drawn again, each pair's for itself. Pairs that share fewer than `FEWEST` scenarios are not judged.
- In a *set* no pair is told apart (complete linkage). Pairs are listed beside, since a class may be like two that are not alike.
- *Matched*: networks are weighted so that in every tenth of the final accuracies within a scenario all classes that are there
  count alike. Final is the last checkpoint that is read.
- A class is *left out* of training, on the first split: which classes its networks are then called, and how well the largest
  share of a class in a vote tells its networks from those of the others (area under the ROC curve; ½ is chance).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.special import log_softmax
from sklearn.manifold import MDS
from sklearn.metrics import roc_auc_score

from classifier.examples import splits as splitting
from classifier.examples.scenarios import Sharing
from classifier.examples.splits import DOMAIN_OF, Fold
from classifier.examples.trajectories import Examples
from classifier.models.estimators import Recipe, Setting, name_of, vote
from classifier.models.parallel import parallel
from classifier.models.problem import CURVE, Problem
from classifier.studies import unseen
from classifier.studies.intervals import LEVEL, redrawn, redraws
from classifier.studies.study import Study
from classifier.studies.transfer import Ask, Data, admit, source
from generator.errors import RequestError, unknown

TENTHS = 10
FEWEST = 5  # scenarios that a pair must share, to be judged
BACKPROPAGATION = "bp"
HALVES = ("rule", "pathway", "update")  # what has a family
ROWS = ("true", "scores", "scenario", "final", *DOMAIN_OF)  # of `Votes`


@dataclass(frozen=True)
class Votes:
    """What a classifier said of the networks of test parts; a network stands here once for each part that it is in.

    Attributes:
        labels: the classes; `true`: (rows,) the number of each network's own; `scores`: (rows, classes).
        scenario: (rows,) the number of its scenario; `final`: (rows,) its final accuracy.
        architecture, task: (rows,) its own.
    """

    labels: tuple[str, ...]
    true: NDArray[np.intp]
    scores: NDArray[np.float64]
    scenario: NDArray[np.intp]
    final: NDArray[np.float64]
    architecture: NDArray[np.object_]
    task: NDArray[np.object_]

    def rows(self, inside: NDArray[np.bool_]) -> Votes:
        """Some of them."""
        return replace(self, **{name: getattr(self, name)[inside] for name in ROWS})

    @property
    def called(self) -> NDArray[np.intp]:
        """(rows,) the class that each is called."""
        return np.asarray(self.scores.argmax(axis=1))


def votes(problem: Problem, recipe: Recipe, setting: Setting, observable: str, fold: Fold, who: pd.DataFrame) -> Votes:
    """Train on a fold's training part, and ask of the networks of its test part. `who` is a row per network, sorted."""
    (classifier,) = problem.fit(recipe, [setting], observable, fold.train)
    names, scores = vote(
        problem.log_scores(classifier, setting.features, observable, fold.test), problem.networks[fold.test]
    )
    rows = who.set_index("network_id").loc[names]
    true = np.searchsorted(problem.labels, rows["true"].to_numpy(dtype=str))
    of = [rows[name].to_numpy() for name in DOMAIN_OF]
    return Votes(problem.labels, true, scores, rows["scenario"].to_numpy(), rows["final"].to_numpy(dtype=float), *of)


def joined(parts: Sequence[Votes]) -> Votes:
    """Those of several folds."""
    return Votes(parts[0].labels, *(np.concatenate([getattr(part, name) for part in parts]) for name in ROWS))


def accuracy(said: Votes, groups: Sequence[str] | None = None) -> dict[str, float | None]:
    """{mean, low, high}: balanced accuracy, its interval over scenarios.

    Args:
        groups: what each class belongs to, if that is what is to be named.
    """
    labels = np.asarray(said.labels if groups is None else groups)
    true, named = labels[said.true], labels[said.called]
    return redrawn(*unseen.tally(said.scenario, true, named, np.unique(labels).tolist()))


def pairs(said: Votes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(classes, classes) how well every two are told apart by their own two votes, and the lower end of its interval.

    Both are NaN of pairs that share fewer than `FEWEST` scenarios.
    """
    count = len(said.labels)
    unit = pd.factorize(said.scenario)[0]
    wins, there = np.zeros((unit.max() + 1, count, count)), np.zeros((unit.max() + 1, count))
    own = said.scores[np.arange(len(said.true)), said.true][:, None]
    np.add.at(wins, (unit, said.true), (own > said.scores) + 0.5 * (own == said.scores))
    np.add.at(there, (unit, said.true), 1)
    both = (there[:, :, None] > 0) & (there[:, None, :] > 0)
    wins, there = np.where(both, wins, 0.0), np.where(both, there[:, :, None], 0.0)
    shared = both.sum(axis=0)

    def share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        of = np.tensordot(weights, there, 1)
        won = np.divide(np.tensordot(weights, wins, 1), of, out=np.full_like(of, np.nan), where=of > 0)
        return np.where(shared < FEWEST, np.nan, (won + won.T) / 2)

    drawn = np.stack([share(one) for one in redraws(len(there))])
    low = np.full((count, count), np.nan)
    judged = shared >= FEWEST
    low[judged] = np.nanquantile(drawn[:, judged], (1 - LEVEL) / 2, axis=0)
    return share(np.ones(len(there))), low


def alike(labels: Sequence[str], low: NDArray[np.float64]) -> list[list[str]]:
    """All pairs that are not told apart."""
    return [[labels[i], labels[j]] for i, j in np.argwhere(np.triu(low <= 0.5, 1))]


def inseparable(labels: Sequence[str], low: NDArray[np.float64]) -> list[list[str]]:
    """Sets of classes of which no pair is told apart; those of one class are left out."""
    distance = np.where(low <= 0.5, 0.0, 1.0)  # of pairs that were not judged, too
    np.fill_diagonal(distance, 0.0)
    number = fcluster(linkage(squareform(distance, checks=False), "complete"), 0.5, "distance")
    sets = [[label for label, one in zip(labels, number, strict=True) if one == each] for each in np.unique(number)]
    return sorted((each for each in sets if len(each) > 1), key=len, reverse=True)


def order(apart: NDArray[np.float64]) -> list[int]:
    """Classes in an order in which those that are hard to tell apart stand together."""
    found = linkage(squareform(_distance(apart), checks=False), "average", optimal_ordering=True)
    return [int(one) for one in leaves_list(found)]


def _distance(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """2 × how well two are told apart − 1; of pairs that were not judged, 1."""
    distance = np.clip(2 * np.nan_to_num(apart, nan=1.0) - 1, 0, 1)
    np.fill_diagonal(distance, 0.0)
    return np.asarray(distance)


def places(apart: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """(classes, 2) a map: distances are as near as can be to 2 × how well two are told apart − 1."""
    found = MDS(2, metric="precomputed", n_init=8, random_state=seed, init="random").fit_transform(_distance(apart))
    return np.asarray(found)


def matched(said: Votes) -> dict[str, float]:
    """Balanced accuracy where final accuracies say nothing of the class, and what chance is there."""
    rank = pd.Series(said.final).groupby(said.scenario).rank(pct=True).to_numpy()
    tenth = np.ceil(TENTHS * rank)
    table = pd.DataFrame({"tenth": tenth, "true": said.true, "right": said.called == said.true})
    cells = table.groupby(["tenth", "true"])["right"].mean().reset_index()
    found = cells.groupby("tenth")["right"].agg(["mean", "count"])
    found = found[found["count"] > 1]
    weight = found["count"] / found["count"].sum()
    mean, chance = (float(values.to_numpy() @ weight.to_numpy()) for values in (found["mean"], 1 / found["count"]))
    return {"mean": mean, "chance": chance}


def stranger(
    problem: Problem, recipe: Recipe, setting: Setting, observable: str, fold: Fold, label: str
) -> dict[str, Any]:
    """A class left out of training: what its networks are called, and how well votes tell that they are none of the others.

    The latter is None where the test part has none of them, or nothing else.
    """
    others = tuple(one for one in problem.labels if one != label)
    unknown_ = problem.classes == label
    codes = np.minimum(np.searchsorted(others, problem.classes), len(others) - 1).astype(np.intp)
    train = fold.train[~unknown_[fold.train]]
    (classifier,) = replace(problem, labels=others, codes=codes).fit(recipe, [setting], observable, train)
    scores = problem.log_scores(classifier, setting.features, observable, fold.test)
    names, found = vote(scores, problem.networks[fold.test])
    strange = np.isin(names, np.unique(problem.networks[fold.test][unknown_[fold.test]]))
    surest = log_softmax(found, axis=1).max(axis=1)
    counts = Counter(others[one] for one in found[strange].argmax(axis=1))
    auroc = float(roc_auc_score(strange, -surest)) if 0 < strange.sum() < len(strange) else None
    return {"taken_for": dict(counts.most_common()), "auroc": auroc}


def distinguish(
    dataset: str | os.PathLike[str] | Examples,
    model: Any = "pooled",
    study: Study = Study(n_splits=3),
    families: Mapping[str, str] | None = None,
    observables: Sequence[str] = ("all", "activity"),
    test: str | os.PathLike[str] | Examples | None = None,
    left_out: bool = True,
) -> dict[str, Any]:
    """Which classes of a dataset can be told apart, by what, and what a class is taken for that was never seen.

    The model has its usual settings: none is chosen.

    Args:
        families: of each pathway and update, as `rulescope rules --json` declares them: families of rules are named, too. That
            of a rule is its pathway's or, under backpropagation, its update's.
        observables: what is named from; the first is what all but accuracies rest on. The curves alone are added.
        test: another dataset, on whose networks everything rests then. It shares no domain with the first, which is trained on
            as a whole.
        left_out: whether each class is left out of training once. That takes as many trainings as there are classes.

    Returns:
        As it is written to JSON: {model, features, split (None with `test`), test (what it is called, or None),
        target, electrode, sampling, chance, networks (that are tested), labels,
        observables: {name: {mean, low, high}}, domains: [{architecture, task, networks, observables}] (with `test`),
        recall: {class: share, None of one that is not tested}, families: {of, chance, observables} or None,
        matched: {name: {mean, chance}}, order (of labels, by clustering), confusion (networks of test parts, summed over the
        splits), apart (how well pairs are told apart; None of those that were not judged), low (the lower ends of its
        intervals), pairs and sets (that are not told apart), map: {class: [x, y]}, left_out: {class: {taken_for, auroc}} (empty
        of two classes, or if it is not asked for),
        design (what to keep in mind of the dataset), missing (a sentence for each kind of networks that are not tested)}.

    Raises:
        RequestError: an unknown name, a class without a family, or a test dataset that `transfer` would refuse.
    """
    study.check([model])
    if not observables:
        raise RequestError("name at least one observable to name rules from")
    if families is not None and study.target not in HALVES:
        raise RequestError(f"families are of rules, pathways and updates, not of {study.target!r}")
    said_of, examples, who, folds = _parts(dataset, test, study, observables)
    problem = Problem.of(examples, study.target, study.suited(examples)[:1])
    groups = None if families is None else _families(examples, study.target, problem.labels, families)
    for name in observables:
        if name not in examples.sets():
            raise unknown("observable", name, examples.sets())
    problem.check(observables)
    recipe = study.recipe(model)
    setting = study.setting(model, examples)
    settings = dict.fromkeys(observables, setting) | {CURVE: replace(setting, features=problem.candidates(CURVE)[-1])}
    calls = [(recipe, settings[name], name, fold, who) for name in settings for fold in folds]
    parts = parallel(votes, problem, calls, "classes")
    said = {name: joined(parts[i * len(folds) : (i + 1) * len(folds)]) for i, name in enumerate(settings)}
    main = said[observables[0]]
    apart, low = pairs(main)
    confusion = np.zeros((len(problem.labels),) * 2, dtype=int)
    np.add.at(confusion, (main.true, main.called), 1)
    several = problem.labels if left_out and len(problem.labels) > 2 else ()  # without one of two nothing is to learn
    lacking = [(recipe, setting, observables[0], folds[0], one) for one in several]
    strangers = parallel(stranger, problem, lacking, "left out")
    return {
        "model": name_of(model),
        "features": setting.features,
        "split": None if test is not None else study.split,
        "test": None if test is None else source(test, 1),
        "target": study.target,
        "electrode": examples.electrode,
        "sampling": study.sampling,
        "chance": 1 / len(problem.labels),
        "networks": len(who),
        "labels": list(problem.labels),
        "observables": {name: accuracy(each) for name, each in said.items()},
        "domains": [] if test is None else _domains(said),
        "recall": {
            name: int(row[at]) / int(row.sum()) if row.any() else None
            for at, (name, row) in enumerate(zip(problem.labels, confusion, strict=True))
        },
        "families": None
        if groups is None
        else {
            "of": dict(zip(problem.labels, groups, strict=True)),
            "chance": 1 / len(set(groups)),
            "observables": {name: accuracy(each, groups) for name, each in said.items()},
        },
        "matched": {name: matched(each) for name, each in said.items()},
        "order": order(apart),
        "confusion": confusion.tolist(),
        "apart": _judged(apart),
        "low": _judged(low),
        "pairs": alike(problem.labels, low),
        "sets": inseparable(problem.labels, low),
        "map": dict(zip(problem.labels, places(apart, study.seed).tolist(), strict=True)),
        "left_out": dict(zip(several, strangers, strict=True)),
        **said_of,
    }


def _parts(
    dataset: Data, test: Data | None, study: Study, observables: Sequence[str]
) -> tuple[dict[str, Any], Examples, pd.DataFrame, list[Fold]]:
    """The report's design and missing, the examples, the networks that are tested, and what is trained on and tested."""
    if test is None:
        examples = study.examples(dataset)
        about = {"design": Sharing.of(examples.identity, study.target).sentence, "missing": _missing(examples, {})}
        return about, examples, _networks(examples, study.target), study.folds(examples.identity)
    train, (one,) = admit(dataset, {source(test, 1): test}, study, Ask(observables))
    count = len(train)
    known = splitting.whole(train.identity, splitting.labels(train.identity, study.target), study.seed)
    fold = Fold("all", known, np.arange(count, count + len(one.examples)))
    about = {
        "design": Sharing.of(train.identity, study.target).sentence,
        "missing": _missing(one.examples, one.left_out),
    }
    return about, train.followed_by(one.examples), _networks(one.examples, study.target), [fold]


def _missing(tested: Examples, strange: Mapping[str, int]) -> list[str]:
    """A sentence for each kind of networks that are not tested: those that did not end, and those of classes not trained on."""
    found = [
        f"{count:,} {status} networks of the dataset are left out."
        for status, count in tested.left_out.items()
        if count
    ]
    if strange:
        names = ", ".join(strange)
        found.append(f"{sum(strange.values()):,} networks of classes that training lacks are left out: {names}.")
    return found


def _domains(said: Mapping[str, Votes]) -> list[dict[str, Any]]:
    """Accuracy by architecture and task."""
    first = next(iter(said.values()))
    found = []
    for domain in sorted(set(zip(first.architecture, first.task, strict=True))):
        inside = (first.architecture == domain[0]) & (first.task == domain[1])
        cells = {name: accuracy(each.rows(inside)) for name, each in said.items()}
        found.append({**dict(zip(DOMAIN_OF, domain, strict=True)), "networks": int(inside.sum()), "observables": cells})
    return found


def _judged(values: NDArray[np.float64]) -> list[list[float | None]]:
    """As they are written: JSON has no NaN."""
    return [[None if np.isnan(one) else float(one) for one in row] for row in values]


def _families(examples: Examples, target: str, labels: Sequence[str], families: Mapping[str, str]) -> list[str]:
    """The family of each class. Raises RequestError for one that has none."""
    identity = examples.identity[["rule", "pathway", "update"]].astype(str)
    parts = (
        identity.assign(of=examples.identity[target].astype(str))
        .drop_duplicates("of")
        .set_index("of")[["pathway", "update"]]
    )
    found = []
    for label in labels:
        pathway, update = map(str, parts.loc[label])
        name = label if target in ("pathway", "update") else update if pathway == BACKPROPAGATION else pathway
        if name not in families:
            raise RequestError(f"no family is declared for {name!r}")
        found.append(families[name])
    return found


def _networks(examples: Examples, target: str) -> pd.DataFrame:
    """As `unseen.networks`, with the final accuracy of each network."""
    final = pd.DataFrame(
        {"network_id": examples.identity["network_id"].astype(str), "final": examples.curves[:, -1, 2]}
    )
    return unseen.networks(examples, target).merge(final.drop_duplicates("network_id"), on="network_id")
