"""Naming the networks of a dataset that a classifier was not trained on, and counting what is named rightly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.scenarios import scenarios, text
from classifier.examples.splits import DOMAIN_OF
from classifier.examples.trajectories import Examples
from classifier.models.estimators import vote
from classifier.models.problem import Problem
from classifier.studies.intervals import redrawn

Cell = dict[str, Any]


def amount(examples: Examples) -> dict[str, int]:
    """{networks, architectures, tasks, domains}: how much there is to learn from."""
    who = examples.identity[["network_id", *DOMAIN_OF]].astype(str)
    counts = {f"{name}s": int(who[name].nunique()) for name in DOMAIN_OF}
    domains = len(who.drop_duplicates(list(DOMAIN_OF)))
    return {"networks": int(who["network_id"].nunique()), **counts, "domains": domains}


def networks(examples: Examples, target: str) -> pd.DataFrame:
    """A row per network, sorted by network_id: who it is, its class as `true`, and the number of its scenario."""
    table = examples.identity[["network_id", "family", *DOMAIN_OF]].astype(str)
    table = table.assign(true=text(examples.identity[target]), scenario=scenarios(examples.identity, target))
    return table.drop_duplicates("network_id").sort_values("network_id").reset_index(drop=True)


def called(problem: Problem, classifier: Any, features: str, observable: str) -> NDArray[np.str_]:
    """(networks,) what a classifier calls each network, sorted by network_id."""
    scores = problem.log_scores(classifier, features, observable, np.arange(len(problem.examples)))
    return np.asarray(problem.labels)[vote(scores, problem.networks)[1].argmax(axis=1)]


def tally(
    unit: NDArray[Any], true: NDArray[Any], named: NDArray[Any], labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(units, classes) networks that are named rightly, and that there are."""
    row, column = pd.factorize(unit)[0], np.searchsorted(labels, true)
    there = np.zeros((row.max() + 1, len(labels)))
    right = np.zeros_like(there)
    np.add.at(there, (row, column), 1)
    np.add.at(right, (row, column), np.asarray(true) == np.asarray(named))
    return right, there


def cell(table: pd.DataFrame, named: NDArray[np.str_], labels: Sequence[str]) -> Cell:
    """{mean, low, high, networks, scenarios}: balanced accuracy of these networks, and what it rests on."""
    right, there = tally(table["scenario"].to_numpy(), table["true"].to_numpy(), named, labels)
    return {**redrawn(right, there), "networks": len(table), "scenarios": len(there)}
