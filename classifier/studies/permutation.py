"""Which measurements a model relies on: grouped permutation importance on the test part.

A group's trajectories are dealt out anew among the examples *before* the feature transform, all of a statistic's
checkpoints and all of a group's statistics together, so that statistic, observable, function, depth and checkpoint are
all well defined. Importance is the loss of mean log score of the true class (in nats; finer than accuracy, which is
given beside it). Statistics whose trajectories are all correlated, |Spearman| > 0.95 over examples × checkpoints for
every pair (complete linkage), permute together: alone, each would look dispensable because the others stand in for it.
A relation between layers is no measurement: the features that have it are dealt out anew, all together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from classifier.examples.features import layout
from classifier.examples.trajectories import DEPTHS, Examples
from classifier.models.estimators import log_scores
from classifier.models.parallel import parallel
from classifier.models.stored import Model
from classifier.studies.evaluate import balanced_accuracy
from classifier.studies.importance import GROUPINGS
from classifier.studies.intervals import independent

CORRELATED = 0.95
REPEATS = 5


def clusters(examples: Examples, threshold: float = CORRELATED) -> list[list[str]]:
    """The statistics in groups whose every pair has |Spearman| above the threshold, in the order of the statistics.

    Undefined values share the middle rank; a constant statistic stands alone.
    """
    names = list(examples.statistics)
    flat = examples.values.reshape(-1, len(names)).astype(np.float64)
    ranks = rankdata(flat, axis=0, nan_policy="omit")
    ranks = np.where(np.isfinite(ranks), ranks, (np.isfinite(flat).sum(axis=0) + 1) / 2)
    ranks -= ranks.mean(axis=0)
    length = np.linalg.norm(ranks, axis=0)
    ranks /= np.where(length > 0, length, 1)
    distance = np.clip(1 - np.abs(ranks.T @ ranks), 0, 1)
    np.fill_diagonal(distance, 0)
    if len(names) == 1:
        return [names]
    number = fcluster(linkage(squareform(distance, checks=False), "complete"), 1 - threshold, "distance")
    groups: dict[int, list[str]] = {}
    for name, one in zip(names, number, strict=True):
        groups.setdefault(int(one), []).append(name)
    return list(groups.values())


def groups(examples: Examples, correlated: list[list[str]]) -> Iterator[tuple[str, str, list[str]]]:
    """(grouping, name, members) of everything that is permuted."""
    for cluster in correlated:
        yield "statistic", cluster[0], cluster
    for grouping in ("observable", "function"):
        parts = {name: getattr(part, grouping) for name, part in examples.statistics.items()}
        for one in dict.fromkeys(parts.values()):
            yield grouping, one, [name for name, part in parts.items() if part == one]
    for depth in DEPTHS:
        if (examples.identity["depth"] == depth).any():
            yield "depth", depth, list(examples.statistics)
    for checkpoint in range(examples.checkpoints):
        yield "checkpoint", str(checkpoint), list(examples.statistics)


def permuted(
    examples: Examples, grouping: str, name: str, members: list[str], rng: np.random.Generator
) -> NDArray[np.float32]:
    """(examples, checkpoints, statistics) with one group dealt out anew among the examples (of its depth)."""
    order = list(examples.statistics)
    columns = np.array([order.index(member) for member in members])
    steps = np.array([int(name)]) if grouping == "checkpoint" else np.arange(examples.checkpoints)
    inside = examples.identity["depth"] == name if grouping == "depth" else np.ones(len(examples), dtype=bool)
    rows = np.flatnonzero(inside)
    values = examples.values.copy()
    values[np.ix_(rows, steps, columns)] = examples.values[np.ix_(rng.permutation(rows), steps, columns)]
    return values


def measure(
    model: Model,
    test: Examples,
    codes: NDArray[np.intp],
    correlated: list[list[str]],
    repeats: int = REPEATS,
    seed: int = 0,
) -> pd.DataFrame:
    """Every group's importance for a model, on examples that it was not fitted on.

    Args:
        model: a fitted model.
        test: examples of the test part.
        codes: (examples,) their classes, as positions in the model's labels.
        correlated: clusters of statistics, from examples of the training part.

    Returns:
        A row per group: by, name, members (comma-separated), size, importance and sem (nats, over the repeats) and
        accuracy_drop (balanced accuracy per layer), the most important first within each `by`.
    """

    judge = _Judge(model, test, codes, repeats, seed, model.table(test))
    whole = judge.scores(judge.table)
    everything = [*groups(test, correlated), *model.relations()]
    calls = [(whole, number, *group) for number, group in enumerate(everything)]
    return ranked(parallel(_Judge.row, judge, calls, "importance"))


@dataclass(frozen=True)
class _Judge:
    """A model, what it is tried on, and (examples, features) the table of it."""

    model: Model
    test: Examples
    codes: NDArray[np.intp]
    repeats: int
    seed: int
    table: NDArray[np.float32]

    def scores(self, table: NDArray[np.float32]) -> tuple[float, float]:
        """Mean log score of the true class, and balanced accuracy, of the test examples with these features."""
        scores = log_scores(self.model.classifier, table, layout(self.test))
        of_truth = scores[np.arange(len(self.codes)), self.codes]
        return float(of_truth.mean()), balanced_accuracy(self.codes, scores.argmax(axis=1))

    def row(
        self, whole: tuple[float, float], number: int, grouping: str, name: str, members: list[str]
    ) -> dict[str, object]:
        """What the model loses with one group dealt out anew."""
        found = []
        for repeat in range(self.repeats):
            rng = np.random.default_rng([self.seed, number, repeat])
            if grouping == "relation":
                table, places = self.table.copy(), self.model.related(name)
                table[:, places] = table[rng.permutation(len(table))][:, places]
            else:
                dealt = replace(self.test, values=permuted(self.test, grouping, name, members, rng))
                table = self.model.renewed(self.table, dealt, members)
            found.append(self.scores(table))
        losses = independent([whole[0] - one[0] for one in found])
        accuracy_drop = whole[1] - float(np.mean([one[1] for one in found]))
        row = {"by": grouping, "name": name, "members": ", ".join(members), "size": len(members)}
        return {**row, "importance": losses["mean"], "sem": losses["sem"], "accuracy_drop": accuracy_drop}


def ranked(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """A table of these rows, the most important first within each `by`."""
    table = pd.DataFrame(rows)
    rank = table["by"].map({name: place for place, name in enumerate(GROUPINGS)})
    return table.iloc[np.lexsort((-table["importance"], rank))].reset_index(drop=True)
