"""How accuracy on unseen networks grows with the number of tasks that a classifier was trained on.

Of the training dataset's tasks random subsets are taken, each within the next larger one, in several draws. Features and
hyperparameters stay those that were chosen on all. A law (`law.py`) is fitted to the means over draws, and again to those sizes
that are smaller than the largest: what it then says of the largest stands beside what was measured there.

Its intervals are percentiles over repetitions in which the draws of training tasks and the test dataset's tasks are drawn again
with replacement (of a test dataset with a single task, its scenarios). They do not say whether the law holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples import splits as splitting
from classifier.examples.scenarios import text
from classifier.examples.trajectories import Examples
from classifier.models.estimators import Recipe, Setting
from classifier.models.parallel import parallel
from classifier.models.problem import Problem
from classifier.studies.intervals import percentiles, recall, redraws
from classifier.studies.law import FEWEST, fit
from classifier.studies.unseen import amount, called, networks, tally
from generator.errors import RequestError

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the training dataset's tasks
SUBSETS = 3  # draws of those smaller than all
REPETITIONS = 200  # of the fit

Counts = tuple[NDArray[np.float64], NDArray[np.float64]]  # (units, classes): named rightly, and there


def sizes(tasks: int) -> list[int]:
    """How many tasks are trained on, rising to all."""
    return sorted({max(1, round(share * tasks)) for share in SHARES})


def check(train: Examples) -> None:
    """Raises RequestError if there are no fewer tasks to train on."""
    if train.identity["task"].nunique() < 2:
        raise RequestError("a scaling curve needs at least two tasks in the training dataset")


def subsets(tasks: Sequence[str], seed: int) -> list[tuple[int, list[str]]]:
    """(draw, tasks): in each draw nested subsets; the largest, all of them, in the first draw alone."""
    found = []
    for draw in range(SUBSETS):
        order = np.random.default_rng([seed, 2, draw]).permutation(sorted(tasks)).tolist()
        found += [(draw, order[:size]) for size in sizes(len(tasks)) if size < len(tasks) or draw == 0]
    return found


def measure(
    problem: Problem, recipe: Recipe, setting: Setting, observable: str, tests: Mapping[str, Problem]
) -> dict[str, Any]:
    """A curve and its law for each test dataset.

    Args:
        setting: chosen on all tasks.
        tests: the test datasets, with the tables of its features.

    Returns:
        {skipped: a sentence where subsets lack a class, curves: {test: {points: [{tasks, architectures, domains, networks (means
        over draws), accuracies (by draw), mean}], resampled (task or scenario), units (of these), law: {floor, scale,
        exponent, each with its ends low and high, None of a single unit} or None, predicted: {from, domains, error, low, high,
        measured} of the largest from the smaller, or None}}}.
    """
    task = text(problem.examples.identity["task"])
    drawn = subsets(np.unique(task).tolist(), recipe.seed)
    whole = [(draw, chosen, inside) for draw, chosen in drawn if _complete(problem, inside := np.isin(task, chosen))]
    lacking = len(drawn) - len(whole)
    calls = [(recipe, setting, observable, tests, inside) for _, _, inside in whole]
    counts = parallel(_trained, problem, calls, "fewer tasks")
    about = [
        {"draw": draw, "tasks": len(chosen), **amount(problem.examples.rows(inside))} for draw, chosen, inside in whole
    ]
    table = pd.DataFrame(about)
    curves = {name: _curve(table, [each[name] for each in counts], tests[name]) for name in tests}
    return {
        "skipped": f"{lacking} of {len(drawn)} subsets of the tasks lack a class and are left out." if lacking else "",
        "curves": curves,
    }


def _complete(problem: Problem, inside: NDArray[np.bool_]) -> bool:
    return len(np.unique(problem.codes[inside])) == len(problem.labels)


def _trained(
    problem: Problem,
    recipe: Recipe,
    setting: Setting,
    observable: str,
    tests: Mapping[str, Problem],
    inside: NDArray[np.bool_],
) -> dict[str, Counts]:
    """Of every test dataset what is named rightly by unit, after training on a subset of the tasks."""
    rows = splitting.whole(problem.examples.identity, problem.classes, recipe.seed, inside)
    classifier, found = problem.fit(recipe, [setting], observable, rows)[0], {}
    for name, there in tests.items():
        table = networks(there.examples, there.target)
        named = called(there, classifier, setting.features, observable)
        found[name] = tally(table[_unit(there)].to_numpy(), table["true"].to_numpy(), named, problem.labels)
    return found


def _unit(test: Problem) -> str:
    """What is drawn again."""
    return "task" if test.examples.identity["task"].nunique() > 1 else "scenario"


def _curve(table: pd.DataFrame, counts: Sequence[Counts], test: Problem) -> dict[str, Any]:
    """The points of one test dataset, and their law."""
    right, there = (np.stack(each) for each in zip(*counts, strict=True))  # (trainings, units, classes)
    table = table.assign(accuracy=recall(right.sum(axis=1), there.sum(axis=1)))
    by_size = table.groupby("tasks")
    means = by_size.mean()
    points = [
        {
            "tasks": int(rows["tasks"].iloc[0]),
            **{name: float(rows[name].mean()) for name in ("architectures", "domains", "networks")},
            "accuracies": rows["accuracy"].tolist(),
            "mean": float(rows["accuracy"].mean()),
        }
        for _, rows in by_size
    ]
    size = np.searchsorted(means.index, table["tasks"])  # (trainings,) the number of its point
    repeated = _errors(size, table["draw"].to_numpy(), right, there)
    n, errors = means["domains"].tolist(), 1 - means["accuracy"].to_numpy()
    law = predicted = None
    units = there.shape[1]
    if len(n) >= FEWEST:
        laws = [fit(n, each) for each in repeated]
        once = fit(n, errors)
        law = {name: _with_ends(getattr(once, name), [getattr(one, name) for one in laws], units) for name in PARTS}
    if len(n) > FEWEST:
        error = float(fit(n[:-1], errors[:-1]).error(n[-1]))
        again = [float(fit(n[:-1], each[:-1]).error(n[-1])) for each in repeated]
        ends = _with_ends(error, again, units)
        predicted = {"from": n[-2], "domains": n[-1], "error": ends.pop("value"), **ends}
        predicted["measured"] = float(errors[-1])
    return {"points": points, "resampled": _unit(test), "units": units, "law": law, "predicted": predicted}


PARTS = ("floor", "scale", "exponent")


def _with_ends(value: float, repeated: Sequence[float], units: int) -> dict[str, float | None]:
    """A value with the ends of its interval; of a single unit that was tested there is none."""
    low, high = percentiles(np.array(repeated)) if units > 1 else (None, None)
    return {"value": value, "low": low, "high": high}


def _errors(
    size: NDArray[np.intp], draw: NDArray[np.intp], right: NDArray[np.float64], there: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(repetitions, sizes) mean error over draws, with units and draws drawn again; a draw is one at all sizes.

    Where a size has none of the draws that were drawn it keeps its own.
    """
    units = redraws(there.shape[1], REPETITIONS)
    right, there = (np.einsum("ru,tuc->rtc", units, each) for each in (right, there))
    error = 1 - recall(right, there)  # (repetitions, trainings)
    often = np.random.default_rng(1).multinomial(SUBSETS, np.full(SUBSETS, 1 / SUBSETS), size=REPETITIONS)[:, draw]
    found = []
    for one in range(size.max() + 1):
        weights = np.where(size == one, often, 0).astype(float)
        weights[weights.sum(axis=1) == 0] = size == one
        found.append((weights * error).sum(axis=1) / weights.sum(axis=1))
    return np.stack(found, axis=1)
