"""What else could have told the rules apart: the controls that a reviewer would ask for, each beside its chance.

All are scored per network on scenario splits, if they name no other, with the fixed settings of `conditions`. Two of them find
splits that are biased: networks before learning, which differ in nothing that their rule made, and classifiers that read who a
network is and not what it did. Where every scenario holds every rule with every seed both score exactly 1 / rules on an honest
split; where networks diverged they may be a little off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from classifier.examples import gaps
from classifier.examples import sampling as samplings
from classifier.examples import splits as splitting
from classifier.examples.scenarios import SEEDS, Sharing, columns, text
from classifier.examples.splits import Fold
from classifier.examples.trajectories import CURVES, DEPTHS, Examples, Parts
from classifier.models.estimators import Recipe
from classifier.models.parallel import parallel
from classifier.models.problem import CURVE, Problem
from classifier.studies.conditions import Condition, asked_of, described
from classifier.studies.evaluate import Score, choose, fit_and_score, permuted_scores
from classifier.studies.intervals import independent
from classifier.studies.store import Found, Store
from classifier.studies.study import Study
from generator.dataset.storage import Dataset
from generator.errors import RequestError

CALIPER = 0.02
PERMUTATIONS = 10
STRATUM = ["architecture", "task", "objective"]  # within which networks are matched
OTHER_TARGETS = ("batch_size", "learning_rate", "architecture", "task")
CURVES_ALONE = "loss and accuracy curves alone"
HONEST = ("scenario", "strict", "architecture", "curriculum")  # splits that must be at chance where nothing was learned
BIASED = ("network", "paper")  # splits that are shown not to be
BEFORE = "only0"  # the sampling of networks before learning

Asked: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class _Fixed:
    """What all controls share: a model, a study whose settings are not chosen, and what was measured of them before."""

    model: str
    study: Study
    store: Store

    def on(self, split: str) -> _Fixed:
        """The same on another split."""
        return replace(self, study=replace(self.study, split=split))

    def problem(self, examples: Examples) -> Problem:
        return Problem.of(examples, self.study.target, [self.study.setting(self.model, examples).features])

    def folds(self, problem: Problem) -> list[Fold]:
        return self.study.folds(problem.examples.identity, problem.classes)

    def row(self, name: str, meaning: str, problem: Problem, folds: Sequence[Fold], asked: Asked) -> Row:
        """Train and test in every fold.

        Args:
            asked: what a store calls it.
        """
        setting, recipe = self.study.setting(self.model, problem.examples), self.study.recipe(self.model)
        calls = [(recipe, setting, "all", fold) for fold in folds]
        return self._row(name, meaning, problem, asked, lambda: self._found(problem, folds, fit_and_score, calls, name))

    def best(self, name: str, meaning: str, examples: Examples, folds: Sequence[Fold], asked: Asked) -> Row:
        """The same of the curves alone, with features and hyperparameters chosen inside the training part: it is the confound."""
        problem = self.problem(examples)
        inner = [self.study.inner_folds(problem, fold.train).folds for fold in folds]
        calls = [(self.study.recipe(self.model), *each) for each in zip(folds, inner, strict=True)]
        within = self.study.within(examples.identity)
        asked = {**asked, "observable": CURVE, "settings": "chosen", "inner": within}
        return self._row(name, meaning, problem, asked, lambda: self._found(problem, folds, _best, calls, name))

    def permuted(self, name: str, meaning: str, problem: Problem, count: int, asked: Asked) -> Row:
        """With labels exchanged within scenarios: the mean and its s.e.m. over permutations."""
        setting, recipe = self.study.setting(self.model, problem.examples), self.study.recipe(self.model)

        def measure() -> Found:
            found = independent(permuted_scores(problem, recipe, setting, self.study.split, count))
            return {f"network_{key}": value for key, value in found.items()}

        return self._row(name, meaning, problem, {**asked, "permuted": count}, measure)

    def _found(
        self, problem: Problem, folds: Sequence[Fold], function: Callable[..., Score], calls: Sequence[Any], name: str
    ) -> Found:
        scores = parallel(function, problem, calls, name)
        shared = splitting.overlap(problem.examples.identity, folds, self.study.split, problem.target)
        return described(problem, scores, shared)

    def _row(self, name: str, meaning: str, problem: Problem, asked: Asked, measure: Callable[[], Found]) -> Row:
        found = self.store.once(asked, measure)
        about = {"control": name, "split": self.study.split}
        scores = {key.removeprefix("network_"): found[key] for key in found if key.startswith("network_")}
        networks = len(np.unique(problem.networks))
        return {**about, **scores, "chance": 1 / len(problem.labels), "networks": networks, "meaning": meaning}


def _best(problem: Problem, recipe: Recipe, fold: Fold, inner: Sequence[Fold]) -> Score:
    setting, _ = choose(problem, recipe, inner, CURVE)
    return fit_and_score(problem, recipe, setting, CURVE, fold)


def matched(networks: pd.DataFrame, caliper: float = CALIPER) -> list[str]:
    """Networks in sets of one for each class, of one architecture, task and objective, that end equally accurate.

    Within a stratum the networks of each class are sorted by accuracy; whenever the next of all classes lie within the caliper
    they form a set, else the least accurate is left out: no other choice gives more sets.

    Args:
        networks: a row per network: network_id, named (its class), accuracy and the columns of `STRATUM`.
        caliper: largest difference of accuracy within a set.

    Returns:
        The network_ids, sorted. Where a stratum lacks a class, none of its networks.
    """
    classes, found = networks["named"].unique(), []
    for _, stratum in networks.groupby(STRATUM, dropna=False):
        ordered = stratum.sort_values(["accuracy", "network_id"])
        queues = [ordered[ordered["named"] == one][["accuracy", "network_id"]].to_numpy().tolist() for one in classes]
        while all(queues):
            heads = [queue[0][0] for queue in queues]
            if max(heads) - min(heads) <= caliper + 1e-6:  # accuracies are float32
                found += [queue.pop(0)[1] for queue in queues]
            else:
                queues[heads.index(min(heads))].pop(0)
    return sorted(found)


def _final_accuracies(examples: Examples, target: str) -> pd.DataFrame:
    """A row per network: who it is, its class, and its last probe accuracy."""
    accuracy = examples.curves[:, -1, CURVES.index("probe_accuracy")].astype(np.float64)
    known = examples.identity[["network_id", *STRATUM]].assign(accuracy=accuracy, named=text(examples.identity[target]))
    return known.drop_duplicates("network_id")


def _matched_rows(fixed: _Fixed, examples: Examples, caliper: float) -> list[Row]:
    """All observables and curves alone on matched networks. Raises RequestError if too few are left."""
    target = fixed.study.target
    ids = matched(_final_accuracies(examples, target), caliper)
    total = examples.identity["network_id"].nunique()
    if not ids:
        raise RequestError(f"no networks of every {target} end within {caliper:g} of the same accuracy")
    try:
        inside = examples.rows(examples.identity["network_id"].isin(ids).to_numpy())
        problem = fixed.problem(inside)
        folds = fixed.folds(problem)
    except RequestError as error:
        raise RequestError(f"{len(ids)} of {total} networks match within {caliper:g}: {error}") from error
    what = f"{len(ids)} of {total} networks, final accuracies within {caliper:g}"
    asked = {**asked_of(fixed.study, Condition(examples.electrode)), "matched": caliper}
    name, blind = "matched performance", fixed.problem(identity(inside, target))
    curves = "what the course of learning still gives away"
    return [
        fixed.row(name, f"{what}: above the curves, more than performance", problem, folds, asked),
        fixed.best(f"{name}, {CURVES_ALONE}", curves, inside, folds, asked),
        fixed.row(f"{name}, identity alone", "what matching gives away", blind, folds, {**asked, "of": "identity"}),
    ]


def identity(examples: Examples, target: str = "rule") -> Examples:
    """Who the networks are in place of what they did: scenario, seeds and layer, as statistics of a single checkpoint.

    What follows from the target, such as the absolute rate, is not among them.
    """
    names = [*columns(target), *(seed for seed in SEEDS if seed != target), "layer_index"]
    varying = [name for name in names if examples.identity[name].nunique(dropna=False) > 1]
    table = pd.get_dummies(examples.identity[varying], dtype=np.float32).astype(np.float32)
    return replace(
        examples,
        values=table.to_numpy()[:, None],
        statistics={name: Parts("identity", "raw", name) for name in table.columns},
        curves=examples.curves[:, :1],
    )


def _null(sharing: Sharing) -> str:
    """What networks that have learned nothing, identity alone and permuted labels must score."""
    if sharing.missing == 0:
        return "must be chance"
    return f"must be chance, but for what {sharing.missing} networks give away that are missing"


def _null_rows(fixed: _Fixed, examples: Examples, null: str, skipped: list[str]) -> list[Row]:
    """Networks before learning, and identity alone, on every split; what a dataset does not allow becomes a sentence."""
    before = samplings.apply(examples, BEFORE)
    nulls: list[tuple[str, Examples, Condition, Asked]] = [
        ("before learning", before, Condition(examples.electrode, BEFORE), {}),
        ("identity alone", identity(examples, fixed.study.target), Condition(examples.electrode), {"of": "identity"}),
    ]
    found = []
    for name, blind, condition, more in nulls:
        problem = fixed.problem(blind)
        for split in (*HONEST, *BIASED):
            there, how = fixed.on(split), f"{split} split" if split in splitting.RANDOM else f"held-out {split}"
            meaning = f"the split {splitting.RANDOM[split].caution}" if split in BIASED else null
            try:
                asked = {**asked_of(there.study, condition), **more}
                found.append(there.row(f"{name}, {how}", meaning, problem, there.folds(problem), asked))
            except RequestError as error:
                skipped.append(f"{name}, {how}: {error}")
    return found


def _at_depth(problem: Problem, parts: Sequence[Fold], depth: str) -> list[Fold]:
    """The same splits with layers of one depth only. Raises RequestError if a class has none in a part."""
    inside = (problem.examples.identity["depth"] == depth).to_numpy()
    found = [Fold(part.name, part.train[inside[part.train]], part.test[inside[part.test]]) for part in parts]
    if any(
        len(np.unique(problem.codes[rows])) < len(problem.labels) for one in found for rows in (one.train, one.test)
    ):
        raise RequestError("not every class has such layers in every split")
    return found


def controls(
    dataset: str | os.PathLike[str] | Examples,
    model: str = "forest",
    study: Study = Study(),
    permutations: int = PERMUTATIONS,
    caliper: float = CALIPER,
) -> dict[str, Any]:
    """Accuracy per network of the headline and of everything that it should be compared with.

    Args:
        dataset: a dataset's path, which keeps what was measured for the next time, or its examples.
        study: what is named. Its first features are taken; controls have splits of their own. Only for the curves alone settings
            are chosen, on its inner folds.
        permutations: of the labels, within scenarios.
        caliper: of final probe accuracy, within sets of matched networks.

    Returns:
        {model, features, n_splits, seed, target, inner: {asked, held_out, sentence} (`splits.described`; of the folds on which
        the settings of the curves alone are chosen), design (how classes share scenarios, where not all do), gaps (what the
        dataset lacks, a sentence each),
        controls: a list of {control, split, mean, sem, reach, low, high (over splits; of permutations mean and sem alone; of
        held-out values the mean alone), chance, networks, meaning},
        skipped: a sentence for each control that this dataset does not allow}.

    Raises:
        RequestError: an unknown name, or too few networks for the headline.
    """
    study.check([model])
    if permutations < 1 or caliper < 0:
        raise RequestError("controls need at least one permutation, and a caliper that is not negative")
    study, target = replace(study, split="scenario", sampling=samplings.ALL, features=study.features[:1]), study.target
    store = Store(None if isinstance(dataset, Examples) else Dataset(dataset), model, study)
    examples = study.examples(dataset)
    fixed = _Fixed(model, study, store)
    problem, skipped = fixed.problem(examples), list[str]()
    folds, asked = fixed.folds(problem), asked_of(study, Condition(examples.electrode))
    sharing = Sharing.of(examples.identity, target)
    rows = [
        fixed.row("headline", f"{target}, from all observables", problem, folds, asked),
        fixed.best(CURVES_ALONE, "what performance alone gives away", examples, folds, asked),
    ]
    try:
        rows += _matched_rows(fixed, examples, caliper)
    except RequestError as error:
        skipped.append(f"matched performance: {error}")
    rows.append(fixed.permuted("permuted labels", _null(sharing), problem, permutations, asked))
    rows += _null_rows(fixed, examples, _null(sharing), skipped)
    for depth in DEPTHS:
        name, there = f"{depth} layers only", {**asked, "depth": depth}
        try:
            inside = _at_depth(problem, folds, depth)
            rows.append(fixed.row(name, f"{target}, from a third of the depth", problem, inside, there))
        except RequestError as error:
            skipped.append(f"{name}: {error}")
    for other in OTHER_TARGETS if target == "rule" else ():
        name, instead = f"{other.replace('_', ' ')} instead of rule", replace(study, target=other)
        try:
            named = problem.retargeted(other)
            of_it = replace(fixed, study=instead)
            asked = asked_of(instead, Condition(examples.electrode))
            rows.append(of_it.row(name, "what else the observables tell", named, of_it.folds(named), asked))
        except RequestError as error:
            skipped.append(f"{name}: {error}")
    about = {"model": model, "features": study.features[0], "n_splits": study.n_splits, "seed": study.seed}
    inner = [study.inner_folds(problem, fold.train) for fold in folds]
    about |= {"target": target, "inner": splitting.described(study.within(examples.identity), inner)}
    about |= {"design": sharing.sentence, "gaps": gaps.asked_of(dataset, target)}
    return {**about, "controls": rows, "skipped": skipped}
