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
from typing import Any

import numpy as np
import pandas as pd

from classifier.examples import sampling as samplings
from classifier.examples import splits as splitting
from classifier.examples.features import split_name, suited
from classifier.examples.scenarios import SEEDS, Sharing, columns, text
from classifier.examples.splits import Fold
from classifier.examples.trajectories import CURVES, DEPTHS, Examples, Parts, load
from classifier.models.estimators import FEATURES, Setting, grid
from classifier.models.parallel import parallel
from classifier.models.problem import CURVE, Problem
from classifier.studies.evaluate import choose, fit_and_score, permuted_scores, ratio
from classifier.studies.intervals import corrected, independent
from generator.errors import RequestError

N_SPLITS = 10
CALIPER = 0.02
PERMUTATIONS = 10
STRATUM = ["architecture", "task", "objective"]  # within which networks are matched
OTHER_TARGETS = ("batch_size", "learning_rate", "architecture", "task")
CURVES_ALONE = "loss and accuracy curves alone"
HONEST = ("scenario", "strict", "architecture", "curriculum")  # splits that must be at chance where nothing was learned
BIASED = ("network", "paper")  # splits that are shown not to be


@dataclass(frozen=True)
class _Fixed:
    """What all controls share."""

    model: str
    features: str
    n_splits: int
    seed: int
    target: str

    def setting(self, examples: Examples) -> Setting:
        return Setting(suited(self.features, examples.checkpoints), grid(self.model)[0])

    def problem(self, examples: Examples) -> Problem:
        return Problem.of(examples, self.target, [self.setting(examples).features])

    def parts(self, problem: Problem, split: str = "scenario") -> list[Fold]:
        identity = problem.examples.identity
        return splitting.make(identity, problem.classes, split, self.n_splits, self.seed, problem.target)

    def row(
        self,
        control: str,
        meaning: str,
        problem: Problem,
        parts: Sequence[Fold],
        observable: str = "all",
        split: str = "scenario",
    ) -> dict[str, Any]:
        """Train and test in every split."""
        setting = self.setting(problem.examples)
        calls = [(self.model, setting, observable, part.train, part.test, self.seed) for part in parts]
        scores = parallel(fit_and_score, problem, calls, control)
        found = corrected([one.network for one in scores], ratio(problem, split, parts))
        return _row(control, meaning, problem, found, split)

    def best(self, control: str, meaning: str, examples: Examples, parts: Sequence[Fold]) -> dict[str, Any]:
        """The same of the curves alone, with features and hyperparameters chosen inside the training part: it is the confound."""
        features = list(dict.fromkeys(suited(name, examples.checkpoints) for name in (self.features, *FEATURES)))
        problem = Problem.of(examples, self.target, features)
        scores = parallel(_best, problem, [(self.model, part, self.seed) for part in parts], control)
        return _row(control, meaning, problem, corrected(scores, ratio(problem, "scenario", parts)))


def _best(problem: Problem, model: str, part: Fold, seed: int) -> float:
    setting, _ = choose(problem, model, "scenario", part.train, seed, CURVE)
    return fit_and_score(problem, model, setting, CURVE, part.train, part.test, seed).network


def _row(
    control: str, meaning: str, problem: Problem, found: dict[str, float | None], split: str = "scenario"
) -> dict[str, Any]:
    networks = len(np.unique(problem.networks))
    about = {"control": control, "split": split, **found, "chance": 1 / len(problem.labels)}
    return {**about, "networks": networks, "meaning": meaning}


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


def _matched_rows(fixed: _Fixed, examples: Examples, caliper: float) -> list[dict[str, Any]]:
    """All observables and curves alone on matched networks. Raises RequestError if too few are left."""
    ids = matched(_final_accuracies(examples, fixed.target), caliper)
    total = examples.identity["network_id"].nunique()
    if not ids:
        raise RequestError(f"no networks of every {fixed.target} end within {caliper:g} of the same accuracy")
    try:
        inside = examples.rows(examples.identity["network_id"].isin(ids).to_numpy())
        problem = fixed.problem(inside)
        parts = fixed.parts(problem)
    except RequestError as error:
        raise RequestError(f"{len(ids)} of {total} networks match within {caliper:g}: {error}") from error
    what = f"{len(ids)} of {total} networks, final accuracies within {caliper:g}"
    alone = f"matched performance, {CURVES_ALONE}"
    return [
        fixed.row("matched performance", f"{what}: above the curves, more than performance", problem, parts),
        fixed.best(alone, "what the course of learning still gives away", inside, parts),
        fixed.row(
            "matched performance, identity alone",
            "what matching gives away",
            fixed.problem(identity(inside, fixed.target)),
            parts,
        ),
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


def _null_rows(fixed: _Fixed, examples: Examples, null: str, skipped: list[str]) -> list[dict[str, Any]]:
    """Networks before learning, and identity alone, on every split; what a dataset does not allow becomes a sentence."""
    nulls: list[tuple[str, Callable[[], Examples]]] = [
        ("before learning", lambda: samplings.apply(examples, "only0")),
        ("identity alone", lambda: identity(examples, fixed.target)),
    ]
    found = []
    for name, blind in nulls:
        problem = fixed.problem(blind())
        for split in (*HONEST, *BIASED):
            how = f"{split} split" if split in splitting.RANDOM else f"held-out {split}"
            meaning = f"the split {splitting.RANDOM[split].caution}" if split in BIASED else null
            try:
                parts = fixed.parts(problem, split)
                found.append(fixed.row(f"{name}, {how}", meaning, problem, parts, split=split))
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
    features: str = FEATURES[0],
    n_splits: int = N_SPLITS,
    permutations: int = PERMUTATIONS,
    caliper: float = CALIPER,
    seed: int = 0,
    target: str = "rule",
) -> dict[str, Any]:
    """Accuracy per network of the headline and of everything that it should be compared with.

    Args:
        dataset: a dataset's path, or its examples.
        permutations: of the labels, within scenarios.
        caliper: of final probe accuracy, within sets of matched networks.
        target: the property to name.

    Returns:
        {model, features, n_splits, seed, target, design (how classes share scenarios, where not all do),
        controls: a list of {control, split, mean, sem, reach, low, high (over splits; of permutations mean and sem alone; of
        held-out values the mean alone), chance, networks, meaning},
        skipped: a sentence for each control that this dataset does not allow}.

    Raises:
        RequestError: an unknown name, or too few networks for the headline.
    """
    split_name(features)
    grid(model)
    if n_splits < 1 or permutations < 1 or caliper < 0:
        raise RequestError("controls need at least one split and one permutation, and a caliper that is not negative")
    examples = dataset if isinstance(dataset, Examples) else load(dataset)
    fixed, skipped = _Fixed(model, features, n_splits, seed, target), []
    problem = fixed.problem(examples)
    parts = fixed.parts(problem)
    sharing = Sharing.of(examples.identity, target)
    rows = [
        fixed.row("headline", f"{target}, from all observables", problem, parts),
        fixed.best(CURVES_ALONE, "what performance alone gives away", examples, parts),
    ]
    try:
        rows += _matched_rows(fixed, examples, caliper)
    except RequestError as error:
        skipped.append(f"matched performance: {error}")
    shuffled = permuted_scores(problem, "scenario", model, fixed.setting(examples), permutations, seed)
    rows.append(_row("permuted labels", _null(sharing), problem, independent(shuffled)))
    rows += _null_rows(fixed, examples, _null(sharing), skipped)
    for depth in DEPTHS:
        try:
            there = _at_depth(problem, parts, depth)
            rows.append(fixed.row(f"{depth} layers only", f"{target}, from a third of the depth", problem, there))
        except RequestError as error:
            skipped.append(f"{depth} layers only: {error}")
    for other in OTHER_TARGETS if target == "rule" else ():
        name = f"{other.replace('_', ' ')} instead of rule"
        try:
            instead = problem.retargeted(other)
            rows.append(fixed.row(name, "what else the observables tell", instead, fixed.parts(instead)))
        except RequestError as error:
            skipped.append(f"{name}: {error}")
    about = {"model": model, "features": features, "n_splits": n_splits, "seed": seed}
    about |= {"target": target, "design": sharing.sentence}
    return {**about, "controls": rows, "skipped": skipped}
