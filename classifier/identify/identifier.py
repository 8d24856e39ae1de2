"""A classifier of recordings of one measurement: trained on the reference, calibrated on what it was not trained on.

Networks are dealt into folds that share no scenario; of a grid with domains (architecture × task) enough, no domain. Each fold
is scored by a classifier trained on the others. On these scores rest calibration, prediction sets and all that is said of
quality: of a fold by the calibration that the others give. The classifier that answers is trained on all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from xgboost import DMatrix, XGBClassifier

from classifier.examples.features import Feature, TrajectoryFeatures, layout, scale_free, suited
from classifier.examples.scenarios import drawn, scenarios, text
from classifier.examples.splits import DOMAIN_OF
from classifier.examples.trajectories import Examples
from classifier.identify.matching import DRAW
from classifier.identify.outside import Neighbourhood
from classifier.models import trust
from classifier.models.parallel import here
from classifier.models.pooling import POOLS, Networks
from classifier.models.problem import CHUNK
from classifier.models.trust import FOLDS, Calibration, Codes, Scores, dealt
from generator.errors import RequestError

ONE_AREA = "summary+cosines+logdifference+shape+dimensionless"
NEAR = "summary+dimensionless"  # of which distances are taken
AREAS = f"{ONE_AREA}+summary@less_mean+summary@less_next+normchange@over_mean"
TREES: Mapping[str, Any] = {
    **{"n_estimators": 400, "max_depth": 5, "learning_rate": 0.05, "subsample": 0.8, "colsample_bylevel": 0.1},
    **{"max_bin": 32, "tree_method": "hist", "n_jobs": 1},
}
QUICK: Mapping[str, Any] = {**TREES, "n_estimators": 120, "learning_rate": 0.15}  # to compare, not to answer
LEFT_OUT = 8  # classes, one after the other: of more, so many at random
FEWEST, ROUGH = FOLDS, 50  # scenarios on which anything can be calibrated, and below which it is rough

Table = NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """Which table is made of a recording.

    Attributes:
        features: transforms, as elsewhere.
        statistics, sessions, areas: what is measured.
        pools: of several areas, what is read of them together.
    """

    features: str
    statistics: tuple[str, ...]
    sessions: int
    areas: int
    pools: tuple[str, ...] = POOLS

    @property
    def near(self) -> Reading:
        """What distances are taken of: fewer features, and of several areas their mean."""
        return replace(self, features=suited(NEAR, self.sessions), pools=("mean",))

    @classmethod
    def of(cls, statistics: Sequence[str], sessions: int, areas: int, features: str | None = None) -> Reading:
        """With the usual features, unless others are asked for."""
        usual = ONE_AREA if areas == 1 else AREAS
        return cls(suited(features or usual, sessions), tuple(statistics), sessions, areas)

    @property
    def warning(self) -> str:
        """A sentence if it reads what depends on the unit of measurement; else empty."""
        if scale_free(self.features.replace("+normchange@over_mean", "")):
            return ""
        return (
            f"features {self.features!r} depend on the unit in which activity is measured, and so does the answer: networks of "
            "the reference have another"
        )

    @property
    def _made(self) -> TrajectoryFeatures:
        return TrajectoryFeatures(self.features, self.statistics, self.sessions)

    def names(self) -> list[str]:
        """The columns' features; of several areas each stands there once for each of the pools."""
        made = self._made
        empty = np.empty((0, self.sessions * len(self.statistics) + 2), np.float32)
        found = [str(name) for name in made.fit(empty).get_feature_names_out()]
        return found if self.areas == 1 else found * len(self.pools)

    def table(self, examples: Examples) -> Table:
        """(networks, columns), in the order in which networks come."""
        given = examples.select(self.statistics)
        flat = given.values.reshape(len(given), -1)
        read = np.hstack([flat, layout(given)])
        step = CHUNK - CHUNK % self.areas
        chunks = (read[at : at + step] for at in range(0, len(read), step))
        table = np.concatenate(list(here(self._made.fit_transform, ((chunk,) for chunk in chunks))))
        if self.areas == 1:
            return table
        pooled = np.split(Networks.of(np.hstack([table, layout(given)])).pooled(), len(POOLS), axis=1)
        return np.hstack([pooled[POOLS.index(name)] for name in self.pools])


@dataclass(frozen=True)
class Identifier:
    """What answers.

    Attributes:
        reading: of a recording. `labels`: the classes.
        classifier: trained on all.
        calibration: of its scores. `held_out`: (networks, classes) calibrated log-probabilities of networks that were not trained
            on, `codes` their classes.
        quality: of those, as `trust.quality` says it; `scenarios` is how many they are of.
        shared: how much the errors of networks of one scenario have in common, from 0 to 1.
        near: what distances are taken of; `neighbourhood`: what lies among the reference.
    """

    reading: Reading
    labels: tuple[str, ...]
    classifier: XGBClassifier
    calibration: Calibration
    held_out: Scores
    codes: Codes
    quality: Mapping[str, Any]
    shared: float
    near: Reading
    neighbourhood: Neighbourhood

    def raw(self, table: Table) -> Scores:
        """(networks, classes) log scores as they come."""
        return _log(self.classifier, table)

    def log_scores(self, table: Table) -> Scores:
        """(networks, classes) calibrated log-probabilities, all classes being as likely beforehand."""
        return self.calibration(self.raw(table))

    def least(self, prior: NDArray[np.float64] | None = None, level: float = trust.LEVEL) -> float:
        """The least probability of a member of a prediction set, classes being as likely beforehand as `prior` says."""
        logs = with_prior(self.held_out, prior)
        weights = None if prior is None else prior[self.codes]
        return trust.threshold(logs, self.codes, level, weights)

    def spoke(self, table: Table, code: int, most: int = 10) -> list[dict[str, Any]]:
        """[{statistic, evidence (nats, for a class against the mean of the others)}] of one network, the largest first."""
        booster = self.classifier.get_booster()
        parts = np.atleast_2d(booster.predict(DMatrix(table), pred_contribs=True)[0])  # (classes, columns + 1)
        own = (
            parts[0] * (2 * code - 1) if len(parts) == 1 else parts[code] - np.delete(parts, code, axis=0).mean(axis=0)
        )
        of: dict[str, float] = {}
        for name, value in zip(self.reading.names(), own, strict=False):
            statistic = Feature.named(name).statistic
            of[statistic] = of.get(statistic, 0.0) + float(value) / self.calibration.temperature
        order = sorted(of, key=lambda name: -abs(of[name]))[:most]
        return [{"statistic": name, "evidence": of[name]} for name in order]


def fit(examples: Examples, reading: Reading, target: str = "rule", seed: int = 0) -> Identifier:
    """Train and calibrate on the reference as it was measured (`matching`).

    Raises:
        RequestError: there is nothing to tell apart, or too few scenarios to calibrate on.
    """
    who = one_each(examples, reading.areas)
    labels, codes = np.unique(text(who[target]), return_inverse=True)
    if len(labels) < 2:
        raise RequestError(f"nothing to tell apart: every network of the reference has {target} {str(labels[0])!r}")
    units = held_out_together(who, target)
    if units.max() + 1 < FEWEST:
        raise RequestError(
            f"the reference has {units.max() + 1} scenarios of such networks, and at least {FEWEST} are needed to calibrate on"
        )
    table, fold = reading.table(examples), dealt(units, seed)
    everything = np.ones(len(table), dtype=bool)
    trained = _trained(table, codes, [*_others(fold), everything], seed)
    raw = _held_out(trained, table, fold, len(labels))
    first = (who[DRAW] == 0).to_numpy() if DRAW in who else everything
    logs, quality = trust.crossed(raw, codes, fold, first)
    quality["scenarios"] = int(units.max() + 1)
    return Identifier(
        reading,
        tuple(str(label) for label in labels),
        trained[-1],
        Calibration.fit(raw, codes),
        logs[first],
        codes[first],
        quality,
        shared(logs[first], codes[first], units[first]),
        reading.near,
        neighbourhood(examples, reading.near, target, seed),
    )


def neighbourhood(examples: Examples, near: Reading, target: str, seed: int) -> Neighbourhood:
    """What lies among the reference; the first fold says how far other networks lie."""
    fold = dealt(held_out_together(one_each(examples, near.areas), target), seed)
    return Neighbourhood.fit(near.table(examples), fold == 0)


def accuracy(examples: Examples, reading: Reading, target: str, seed: int = 0) -> float:
    """Balanced accuracy on one fold of a classifier trained on the others: what `fit` says at length, sooner."""
    who = one_each(examples, reading.areas)
    codes = np.unique(text(who[target]), return_inverse=True)[1]
    table, fold = reading.table(examples), dealt(held_out_together(who, target), seed)
    asked = (fold == 0) & ((who[DRAW] == 0).to_numpy() if DRAW in who else True)
    right = _log(train(table[fold != 0], codes[fold != 0], seed, QUICK), table[asked]).argmax(axis=1) == codes[asked]
    return float(np.mean([right[codes[asked] == code].mean() for code in np.unique(codes[asked])]))


def crossed_scores(examples: Examples, reading: Reading, target: str, seed: int = 0) -> tuple[Scores, Codes, Codes]:
    """(networks, classes) log scores of networks that were not trained on, their classes and folds; trained sooner than `fit`."""
    who = one_each(examples, reading.areas)
    labels, codes = np.unique(text(who[target]), return_inverse=True)
    table, fold = reading.table(examples), dealt(held_out_together(who, target), seed)
    trained = _trained(table, codes, _others(fold), seed, QUICK)
    return _held_out(trained, table, fold, len(labels)), codes, fold


def _others(fold: Codes) -> list[NDArray[np.bool_]]:
    """Of each fold, (networks,) which are not of it."""
    return [fold != number for number in range(FOLDS)]


def _trained(
    table: Table,
    codes: Codes,
    parts: Sequence[NDArray[np.bool_]],
    seed: int,
    trees: Mapping[str, Any] | None = None,
) -> list[XGBClassifier]:
    """A classifier of each part."""
    return list(here(lambda rows: train(table[rows], codes[rows], seed, trees), ((rows,) for rows in parts)))


def _held_out(trained: Sequence[XGBClassifier], table: Table, fold: Codes, classes: int) -> Scores:
    """(networks, classes) log scores of every fold by the classifier of the others."""
    raw = np.empty((len(table), classes))
    for number in range(FOLDS):
        raw[fold == number] = _log(trained[number], table[fold == number])
    return raw


def train(table: Table, codes: Codes, seed: int, trees: Mapping[str, Any] | None = None) -> XGBClassifier:
    """A classifier; every class counts alike, however many networks it has."""
    counts = np.bincount(codes)
    weights = len(codes) / (np.count_nonzero(counts) * counts[codes])
    return XGBClassifier(**(trees or TREES), random_state=seed).fit(table, codes, sample_weight=weights)


def _log(classifier: XGBClassifier, table: Table) -> Scores:
    return np.log(np.maximum(classifier.predict_proba(table).astype(np.float64), 1e-6))


def with_prior(logs: Scores, prior: NDArray[np.float64] | None) -> Scores:
    """Log-probabilities where classes are not as likely beforehand."""
    if prior is None:
        return logs
    with np.errstate(divide="ignore"):
        found = logs + np.log(prior)
    return np.asarray(found - np.logaddexp.reduce(found, axis=1, keepdims=True))


def shared(logs: Scores, codes: Codes, units: Codes) -> float:
    """The intraclass correlation of log p of the true class among networks of one scenario and class (one-way, ANOVA).

    What the class and the mean contribute is left out. It says how much a second animal adds to a first that resembles it.
    """
    error = pd.Series(logs[np.arange(len(codes)), codes])
    error = error - error.groupby(codes).transform("mean")
    group = pd.factorize(pd.Series(units) * (codes.max() + 1) + codes)[0]
    sizes = np.bincount(group)
    count, total = len(sizes), len(group)
    if count < 2 or total <= count:
        return 1.0
    means = error.groupby(group).transform("mean")
    between = float((means**2).sum()) / (count - 1)
    within = float(((error - means) ** 2).sum()) / (total - count)
    size = (total - (sizes**2).sum() / total) / (count - 1)
    found = (between - within) / (between + (size - 1) * within)
    return float(np.clip(found, 0, 1))


def strangers(examples: Examples, reading: Reading, target: str, seed: int = 0) -> dict[str, dict[str, float]]:
    """Of each class, left out of training: {surest, distance}, how well either tells it from the others; of many of a few.

    These are areas under the ROC curve. `surest` is the probability of the named class, and `distance` that to the nearest of the
    reference. ½ is chance.
    """
    who = one_each(examples, reading.areas)
    labels, codes = np.unique(text(who[target]), return_inverse=True)
    table, fold = reading.table(examples), dealt(held_out_together(who, target), seed)
    cloud = reading.near.table(examples)
    there = np.unique(codes[fold == 0])  # those that can be asked about
    chosen = np.sort(np.random.default_rng(seed).permutation(there)[:LEFT_OUT])

    def one(code: int) -> dict[str, float]:
        known = (fold != 0) & (codes != code)
        others = np.unique(codes[known], return_inverse=True)[1]
        asked = fold == 0
        strange = codes[asked] == code
        surest = _log(train(table[known], others, seed, QUICK), table[asked]).max(axis=1)
        far = Neighbourhood.fit(cloud[known | asked], asked[known | asked]).distance(cloud[asked])
        return {"surest": float(roc_auc_score(strange, -surest)), "distance": float(roc_auc_score(strange, far))}

    found = list(here(one, ((code,) for code in chosen)))
    return {str(label): each for label, each in zip(labels[chosen], found, strict=True)}


def one_each(examples: Examples, areas: int) -> pd.DataFrame:
    """A row of identity per network, in the order of `Reading.table`."""
    return examples.identity.iloc[::areas].reset_index(drop=True)


def held_out_together(who: pd.DataFrame, target: str) -> Codes:
    """(networks,) the number of what is held out together: a scenario; of a grid, where they suffice, a domain."""
    if not drawn(who):
        domains = pd.factorize(pd.MultiIndex.from_frame(who[list(DOMAIN_OF)].astype(str)))[0]
        held = pd.crosstab(domains, text(who[target]))
        if len(held) >= ROUGH and (held > 0).all(axis=None):
            return np.asarray(domains, dtype=np.intp)
    return scenarios(who, target)
