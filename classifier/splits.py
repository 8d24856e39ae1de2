"""Splits into a training and a test part that never share a unit, balanced over the classes.

The unit is what must not fall on both sides: the configuration (the headline: networks that differ only in their seeds
are near-copies), the network, or, for comparison with the paper only, the single row, where layers of one network leak.
A held-out property of the networks (a task, say) tests on one of its values after training on all the others.

Balanced means: every class gives as many units as the rarest one has, drawn afresh for each split, a quarter of them
(rounded, at least one) to the test part; the surplus of the commoner classes is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.trajectories import IDENTITY
from generator.errors import RequestError, unknown
from generator.schema import NETWORKS

UNITS = {"configuration": "configuration", "network": "network_id", "paper": None}
TEST_SHARE = 0.25
FEWEST_UNITS = 4  # per class: one to test, and three to choose settings on
PROPERTIES = tuple(name for name in NETWORKS.names if name in IDENTITY and name not in ("network_id", "configuration"))

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """Row numbers of one training and test part. `name` is the held-out value, or the split's number."""

    name: str
    train: Rows
    test: Rows


def labels(identity: pd.DataFrame, target: str) -> NDArray[np.str_]:
    """(examples,) the class of every example. Raises RequestError for a target that is not a property of a network."""
    if target not in PROPERTIES:
        raise unknown("target", target, PROPERTIES)
    classes = identity[target].astype(str).to_numpy(dtype=str)
    if len(np.unique(classes)) < 2:
        raise RequestError(f"nothing to tell apart: every network of the dataset has {target} {str(classes[0])!r}")
    return classes


def units(identity: pd.DataFrame, split: str) -> NDArray[np.intp]:
    """(examples,) the number of the unit that each example belongs to."""
    column = UNITS.get(split, "configuration")
    return np.arange(len(identity)) if column is None else pd.factorize(identity[column])[0].astype(np.intp)


def make(
    identity: pd.DataFrame, classes: NDArray[np.str_], split: str, n_splits: int = 10, seed: int = 0
) -> list[Split]:
    """The splits named `split`: `n_splits` random ones, or one per value of a held-out property.

    Args:
        identity: the examples' identity table.
        classes: (examples,) the class of every example.
        split: configuration, network, paper, or a property to hold out.

    Raises:
        RequestError: an unknown split, a class spread over one unit, or too few units per class.
    """
    unit = units(identity, split)
    if split in UNITS:
        of_unit = _class_of_unit(unit, classes, split)
        _check_count(of_unit, UNITS[split] or "row", FEWEST_UNITS)
        return [
            _random(f"{number}", unit, of_unit, np.random.default_rng([seed, number])) for number in range(n_splits)
        ]
    if split not in PROPERTIES:
        raise unknown("split", split, {*UNITS, *PROPERTIES})
    return _held_out(identity[split].astype(str).to_numpy(dtype=str), unit, classes, split, seed)


def inner_folds(
    identity: pd.DataFrame, classes: NDArray[np.str_], train: Rows, split: str, n_folds: int, seed: int
) -> list[tuple[Rows, Rows]]:
    """Folds of a training part, (fit, score) row numbers each, whose sides share no unit.

    The units of each class are dealt out in turn, so classes stay balanced. Under a held-out property the folds hold
    out values of it too, if every class is left to train on in each.
    """
    rng = np.random.default_rng([seed, len(train)])
    if split in PROPERTIES:
        unit = pd.factorize(identity[split].iloc[train])[0].astype(np.intp)
        folds = _deal(unit, np.zeros(len(train)), train, n_folds, rng)
        if len(folds) > 1 and all(set(classes[fit]) == set(classes[train]) for fit, _ in folds):
            return folds
    return _deal(units(identity, split)[train], classes[train], train, n_folds, rng)


def _deal(
    unit: NDArray[np.intp], stratum: NDArray[Any], train: Rows, n_folds: int, rng: np.random.Generator
) -> list[tuple[Rows, Rows]]:
    """Deal the units of each stratum to the folds in turn; (fit, score) rows of each fold."""
    fold_of_unit = np.full(unit.max() + 1, -1)
    for one in np.unique(stratum):
        members = rng.permutation(np.unique(unit[stratum == one]))
        fold_of_unit[members] = np.arange(len(members)) % n_folds
    fold = fold_of_unit[unit]
    return [(train[fold != k], train[fold == k]) for k in np.unique(fold)]


def permute(classes: NDArray[np.str_], unit: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.str_]:
    """The classes dealt out anew among the units: all rows of a unit get the same permuted class."""
    numbers, first, row_of = np.unique(unit, return_index=True, return_inverse=True)
    return classes[first][rng.permutation(len(numbers))][row_of]


def _class_of_unit(unit: NDArray[np.intp], classes: NDArray[np.str_], split: str) -> pd.Series:
    table = pd.DataFrame({"unit": unit, "class": classes}).drop_duplicates()
    if table["unit"].duplicated().any():
        raise RequestError(f"the {split} split cannot be used for this target: it differs within one {split}")
    return table.set_index("unit")["class"]


def _check_count(of_unit: pd.Series, unit: str, fewest: int, where: str = "") -> None:
    counts = of_unit.value_counts().sort_index()
    if counts.min() < fewest:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        unit = unit.removesuffix("_id")
        raise RequestError(f"too few {unit}s per class{where}: at least {fewest} are needed, found {found}")


def _draw(of_unit: pd.Series, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """For each class as many units as the rarest has, in random order."""
    count = of_unit.value_counts().min()
    return [rng.permutation(of_unit.index[of_unit == one].to_numpy())[:count] for one in np.unique(of_unit)]


def _random(name: str, unit: NDArray[np.intp], of_unit: pd.Series, rng: np.random.Generator) -> Split:
    drawn = _draw(of_unit, rng)
    tested = max(1, round(TEST_SHARE * len(drawn[0])))
    test, train = (np.concatenate([part[side] for part in drawn]) for side in (slice(tested), slice(tested, None)))
    return Split(name, np.flatnonzero(np.isin(unit, train)), np.flatnonzero(np.isin(unit, test)))


def _held_out(
    values: NDArray[np.str_], unit: NDArray[np.intp], classes: NDArray[np.str_], split: str, seed: int
) -> list[Split]:
    known = np.unique(values)
    if len(known) < 2:
        raise RequestError(f"no {split} can be held out: every example has {str(known[0])!r}")
    found = []
    for number, value in enumerate(known):
        inside = values != value
        missing = np.setdiff1d(classes, classes[inside])
        if len(missing):
            raise RequestError(
                f"without {split} {str(value)!r} no example of class {str(missing[0])!r} is left to train on"
            )
        of_unit = _class_of_unit(unit[inside], classes[inside], split)
        _check_count(of_unit, "configuration", FEWEST_UNITS - 1, f" without {split} {str(value)!r}")
        train = np.concatenate(_draw(of_unit, np.random.default_rng([seed, number])))
        found.append(Split(str(value), np.flatnonzero(np.isin(unit, train) & inside), np.flatnonzero(~inside)))
    return found
