"""What else could have told the rules apart: the controls that a reviewer would ask for, each beside its chance.

All are scored per network on configuration splits, with the fixed settings of `conditions`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from classifier import sampling as samplings
from classifier import splits as splitting
from classifier.conditions import N_SPLITS
from classifier.evaluate import fit_and_score, mean_and_sem, permuted_scores
from classifier.features import split_name, suited
from classifier.models import FEATURES, Setting, grid
from classifier.parallel import parallel
from classifier.problem import CURVE, Problem
from classifier.splits import Split
from classifier.tables import Rows, plus_minus, show
from classifier.trajectories import CURVES, DEPTHS, Examples, load
from generator.errors import RequestError

CALIPER = 0.02
PERMUTATIONS = 10
STRATUM = ["architecture", "task", "objective"]  # within which networks are matched
OTHER_TARGETS = ("batch_size", "learning_rate", "architecture", "task")
CURVES_ALONE = "loss and accuracy curves alone"


@dataclass(frozen=True)
class _Fixed:
    """What all controls share."""

    model: str
    features: str
    n_splits: int
    seed: int

    def setting(self, examples: Examples) -> Setting:
        return Setting(suited(self.features, examples.checkpoints), grid(self.model)[0])

    def problem(self, examples: Examples) -> Problem:
        classes = splitting.labels(examples.identity, "rule")
        return Problem.of(examples, classes, [self.setting(examples).features])

    def parts(self, problem: Problem) -> list[Split]:
        return splitting.make(problem.examples.identity, problem.classes, "configuration", self.n_splits, self.seed)

    def row(
        self, control: str, meaning: str, problem: Problem, parts: Sequence[Split], observable: str
    ) -> dict[str, Any]:
        """Train and test in every split."""
        setting = self.setting(problem.examples)
        calls = [(self.model, setting, observable, part.train, part.test, self.seed) for part in parts]
        scores = parallel(fit_and_score, problem, calls, control)
        return _row(control, meaning, problem, [found.network for found in scores])


def _row(control: str, meaning: str, problem: Problem, scores: Sequence[float]) -> dict[str, Any]:
    networks = len(np.unique(problem.networks))
    about = {"control": control, **mean_and_sem(scores), "chance": 1 / len(problem.labels)}
    return {**about, "networks": networks, "meaning": meaning}


def matched(networks: pd.DataFrame, caliper: float = CALIPER) -> list[str]:
    """Networks in sets of one for each rule, of one architecture, task and objective, that end equally accurate.

    Within a stratum the networks of each rule are sorted by accuracy; whenever the next of all rules lie within the caliper
    they form a set, else the least accurate is left out: no other choice gives more sets.

    Args:
        networks: a row per network: network_id, rule, accuracy and the columns of `STRATUM`.
        caliper: largest difference of accuracy within a set.

    Returns:
        The network_ids, sorted. Where a stratum lacks a rule, none of its networks.
    """
    rules, found = networks["rule"].unique(), []
    for _, stratum in networks.groupby(STRATUM, dropna=False):
        ordered = stratum.sort_values(["accuracy", "network_id"])
        queues = [ordered[ordered["rule"] == rule][["accuracy", "network_id"]].to_numpy().tolist() for rule in rules]
        while all(queues):
            heads = [queue[0][0] for queue in queues]
            if max(heads) - min(heads) <= caliper + 1e-6:  # accuracies are float32
                found += [queue.pop(0)[1] for queue in queues]
            else:
                queues[heads.index(min(heads))].pop(0)
    return sorted(found)


def _final_accuracies(examples: Examples) -> pd.DataFrame:
    """A row per network: who it is, and its last probe accuracy."""
    accuracy = examples.curves[:, -1, CURVES.index("probe_accuracy")].astype(np.float64)
    return examples.identity[["network_id", "rule", *STRATUM]].assign(accuracy=accuracy).drop_duplicates("network_id")


def _matched_rows(fixed: _Fixed, examples: Examples, caliper: float) -> list[dict[str, Any]]:
    """All observables and curves alone on matched networks. Raises RequestError if too few are left."""
    ids = matched(_final_accuracies(examples), caliper)
    total = examples.identity["network_id"].nunique()
    if not ids:
        raise RequestError(f"no networks of all rules end within {caliper:g} of the same accuracy")
    try:
        problem = fixed.problem(examples.rows(examples.identity["network_id"].isin(ids).to_numpy()))
        parts = fixed.parts(problem)
    except RequestError as error:
        raise RequestError(f"{len(ids)} of {total} networks match within {caliper:g}: {error}") from error
    what = f"{len(ids)} of {total} networks, final accuracies within {caliper:g}"
    return [
        fixed.row("matched performance", f"{what}: above the curves, more than performance", problem, parts, "all"),
        fixed.row(
            f"matched performance, {CURVES_ALONE}",
            "what the course of learning still gives away",
            problem,
            parts,
            CURVE,
        ),
    ]


def _at_depth(problem: Problem, parts: Sequence[Split], depth: str) -> list[Split]:
    """The same splits with layers of one depth only. Raises RequestError if a class has none in a part."""
    inside = (problem.examples.identity["depth"] == depth).to_numpy()
    found = [Split(part.name, part.train[inside[part.train]], part.test[inside[part.test]]) for part in parts]
    if any(
        len(np.unique(problem.codes[rows])) < len(problem.labels) for one in found for rows in (one.train, one.test)
    ):
        raise RequestError("not every class has such layers in every split")
    return found


def _relabelled(problem: Problem, target: str) -> Problem:
    """The same tables with another property to name. Raises RequestError if it does not vary."""
    labels, codes = np.unique(splitting.labels(problem.examples.identity, target), return_inverse=True)
    return replace(problem, labels=tuple(map(str, labels)), codes=codes.astype(np.intp))


def controls(
    dataset: str | os.PathLike[str] | Examples,
    model: str = "forest",
    features: str = FEATURES[0],
    n_splits: int = N_SPLITS,
    permutations: int = PERMUTATIONS,
    caliper: float = CALIPER,
    seed: int = 0,
) -> dict[str, Any]:
    """Accuracy per network of the headline and of everything that it should be compared with.

    Untrained networks (the levels at the first checkpoint) are at chance or below it: networks that differ only in rule start
    equal, so a test network's like is in the training part under the other rules' names.

    Args:
        dataset: a dataset's path, or its examples.
        permutations: of the labels.
        caliper: of final probe accuracy, within sets of matched networks.

    Returns:
        {model, features, n_splits, seed, controls: a list of {control, mean, sem (over splits, or permutations), chance,
        networks, meaning}, skipped: a sentence for each control that this dataset does not allow}.

    Raises:
        RequestError: an unknown name, or too few networks for the headline.
    """
    split_name(features)
    grid(model)
    if n_splits < 1 or permutations < 1 or caliper < 0:
        raise RequestError("controls need at least one split and one permutation, and a caliper that is not negative")
    examples = dataset if isinstance(dataset, Examples) else load(dataset)
    fixed, skipped = _Fixed(model, features, n_splits, seed), []
    problem = fixed.problem(examples)
    parts = fixed.parts(problem)
    rows = [
        fixed.row("headline", "rule, from all observables", problem, parts, "all"),
        fixed.row(CURVES_ALONE, "what performance alone gives away", problem, parts, CURVE),
    ]
    try:
        rows += _matched_rows(fixed, examples, caliper)
    except RequestError as error:
        skipped.append(f"matched performance: {error}")
    shuffled = permuted_scores(problem, "configuration", model, fixed.setting(examples), permutations, seed)
    rows.append(_row("permuted labels", "must be chance", problem, shuffled))
    start = fixed.problem(samplings.apply(examples, "only0"))
    rows.append(fixed.row("untrained networks", "must not be above chance: rules start equal", start, parts, "all"))
    for depth in DEPTHS:
        try:
            there = _at_depth(problem, parts, depth)
            rows.append(fixed.row(f"{depth} layers only", "rule, from a third of the depth", problem, there, "all"))
        except RequestError as error:
            skipped.append(f"{depth} layers only: {error}")
    for target in OTHER_TARGETS:
        name = f"{target.replace('_', ' ')} instead of rule"
        try:
            other = _relabelled(problem, target)
            rows.append(fixed.row(name, "what else the observables tell", other, fixed.parts(other), "all"))
        except RequestError as error:
            skipped.append(f"{name}: {error}")
    about = {"model": model, "features": features, "n_splits": n_splits, "seed": seed}
    return {**about, "controls": rows, "skipped": skipped}


def control_rows(found: dict[str, Any]) -> Rows:
    """Header and a row per control."""
    return [
        ["control", "accuracy per network", "chance", "networks", "what it means"],
        *(
            [one["control"], plus_minus(one), f"{one['chance']:.2f}", str(one["networks"]), one["meaning"]]
            for one in found["controls"]
        ),
    ]


def print_controls(found: dict[str, Any]) -> None:
    """Print the table, and a sentence for each control left out."""
    console = Console()
    show(console, f"Controls ({found['model']} on {found['features']}, configuration split)", control_rows(found))
    for sentence in found["skipped"]:
        console.print(f"left out: {sentence}", highlight=False)
