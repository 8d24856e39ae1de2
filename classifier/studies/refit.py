"""What a model cannot do without: a group of statistics is left out, and the same model trained again without it.

Permutation (`importance`) says what a trained model relies on; others may say the same, and a model trained without it would
rely on those. What is lost when it is trained again is what nothing else says. Left out are the clusters of statistics
that permutation ranks first, one after the other, and every observable. Training draws random numbers, so that another seed alone
moves the scores: all is done with two seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.features import Feature
from classifier.examples.scenarios import scenarios
from classifier.examples.splits import Fold
from classifier.models.estimators import Recipe, Setting, log_scores
from classifier.models.parallel import parallel
from classifier.models.problem import Problem
from classifier.studies.evaluate import balanced_accuracy
from classifier.studies.intervals import independent
from classifier.studies.permutation import ranked

REPEATS = 2


def measure(
    problem: Problem, recipe: Recipe, setting: Setting, part: Fold, permutation: pd.DataFrame, top: int
) -> pd.DataFrame:
    """The loss without each group, on the test part.

    Args:
        permutation: the table of `importance.measure`.
        top: how many of its clusters of statistics are left out, one after the other.

    Returns:
        A row per group: by, name, members (comma-separated), size, importance and sem (nats of log score of the truth, over
        the scenarios of the test part) and accuracy_drop (balanced accuracy per layer), the most important first within `by`.
        A group that is everything there is cannot be left out.
    """
    clusters = permutation[permutation["by"] == "statistic"].head(top)
    groups = pd.concat([clusters, permutation[permutation["by"] == "observable"]])
    groups = groups[groups["size"] < len(problem.examples.statistics)]
    left_out = [(), *(tuple(members.split(", ")) for members in groups["members"])]
    repeats = [replace(recipe, seed=recipe.seed + more) for more in range(REPEATS)]
    calls = [(one, setting, part, without) for without in left_out for one in repeats]
    found = parallel(_scores, problem, calls, "trained again without")
    by_group = [found[start : start + REPEATS] for start in range(0, len(found), REPEATS)]
    of_truth = [np.mean([scores for scores, _ in each], axis=0) for each in by_group]  # (test rows,)
    accuracy = [float(np.mean([one for _, one in each])) for each in by_group]
    scenario, rows = scenarios(problem.examples.identity, problem.target)[part.test], []
    for place, group in enumerate(groups.to_dict("records"), start=1):
        lost = independent(pd.Series(of_truth[0] - of_truth[place]).groupby(scenario).mean().tolist())
        about = {key: group[key] for key in ("by", "name", "members", "size")}
        drop = accuracy[0] - accuracy[place]
        rows.append({**about, "importance": lost["mean"], "sem": lost["sem"], "accuracy_drop": drop})
    return ranked(rows)


def _scores(
    problem: Problem, recipe: Recipe, setting: Setting, part: Fold, without: Sequence[str]
) -> tuple[NDArray[np.float64], float]:
    """(test rows,) log score of the truth, and balanced accuracy, of a classifier without the features of these statistics."""
    names = problem.columns(setting.features, "all")
    kept = [place for place, name in enumerate(names) if Feature.named(name).statistic not in without]
    table, layout = problem.table(setting.features, "all")[:, kept], problem.layout("all")
    known, columns = np.asfortranarray(table[part.train]), [names[place] for place in kept]
    classifier = recipe.fit([setting.parameters], columns, known, problem.codes[part.train], layout[part.train])[0]
    scores, truth = log_scores(classifier, table[part.test], layout[part.test]), problem.codes[part.test]
    return scores[np.arange(len(truth)), truth], balanced_accuracy(truth, scores.argmax(axis=1))
