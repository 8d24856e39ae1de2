"""What a model cannot do without: a group of statistics is left out, and the same model trained again without it.

Permutation (`importance`) says what a trained model relies on; others may say the same, and a model trained without it would
rely on those. What is lost when it is trained again is what nothing else says. Per class of questions: the clusters of
statistics that permutation ranks first, and every observable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.evaluate import balanced_accuracy
from classifier.features import parse
from classifier.importance import ranked
from classifier.intervals import independent
from classifier.models import Setting, fit_all, log_scores
from classifier.parallel import parallel
from classifier.problem import Problem
from classifier.splits import Split


def measure(
    problem: Problem, model: str, setting: Setting, part: Split, permutation: pd.DataFrame, top: int, seed: int
) -> pd.DataFrame:
    """The loss without each group, on the test part.

    Args:
        permutation: the table of `importance.measure`.
        top: how many of its clusters of statistics are left out, one after the other.

    Returns:
        A row per group: by, name, members (comma-separated), size, importance and sem (nats of log score of the true class, over
        test networks) and accuracy_drop (balanced accuracy per layer), the most important first within each `by`.
    """
    clusters = permutation[permutation["by"] == "statistic"].head(top)
    observables = permutation[permutation["by"] == "observable"]
    groups = pd.concat([clusters, observables if len(observables) > 1 else observables[:0]])
    calls = [(model, setting, part, (), seed)]
    calls += [(model, setting, part, tuple(members.split(", ")), seed) for members in groups["members"]]
    whole, *without = parallel(_scores, problem, calls, "trained again without")
    truth, networks = problem.codes[part.test], problem.networks[part.test]
    rows = []
    for group, scores in zip(groups.to_dict("records"), without, strict=True):
        lost = (whole - scores)[np.arange(len(truth)), truth]
        found = independent(pd.Series(lost).groupby(networks).mean().tolist())
        drop = balanced_accuracy(truth, whole.argmax(axis=1)) - balanced_accuracy(truth, scores.argmax(axis=1))
        about = {key: group[key] for key in ("by", "name", "members", "size")}
        rows.append({**about, "importance": found["mean"], "sem": found["sem"], "accuracy_drop": drop})
    return ranked(rows)


def _scores(
    problem: Problem, model: str, setting: Setting, part: Split, without: Sequence[str], seed: int
) -> NDArray[np.float64]:
    """(test rows, classes) log scores of a classifier that reads no feature made of these statistics."""
    names = problem.columns(setting.features, "all")
    kept = [place for place, name in enumerate(names) if parse(name).statistic not in without]
    table = problem.table(setting.features, "all")[:, kept]
    known, columns = np.asfortranarray(table[part.train]), [names[place] for place in kept]
    classifier = fit_all(model, [setting.parameters], columns, known, problem.codes[part.train], seed)[0]
    return log_scores(classifier, table[part.test])
