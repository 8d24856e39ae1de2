"""Splits into a training and a test part that share no unit, balanced over the classes.

| split | what stays on one side | the test part is new in |
|---|---|---|
| `scenario` (the headline) | a scenario with all its seeds, under every class (`scenarios.py`) | its scenarios |
| `strict` | scenarios, and model seeds | its scenarios and its initial weights |
| a property, such as `task` | one of its values | that value |
| `network`, `paper` | a network; a (network, layer) row | nothing that matters: they are biased or leak, and say so |

A quarter of the units is the test part. In training, networks of the commoner classes are left out at random until all
classes have as many.

Settings are chosen inside a training part, on `inner` folds of it. These hold out what the split holds out, or, so that what is
chosen carries over to other networks, domains (architecture × task).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator

from classifier.examples.scenarios import PROPERTIES, SEEDS, classes_held, follows, scenarios, text
from generator.errors import RequestError, unknown

TESTED = 4  # one unit in so many is tested
FEWEST_UNITS = 4  # that hold a class: one to test, and three to choose settings on
INNER_FOLDS = 2  # of a training part, to choose settings on
TRIES = 100  # to draw parts that hold every class
MOST_NAMED = 6  # classes in a sentence
DOMAIN, DOMAIN_OF = "domain", ("architecture", "task")  # what inner folds may hold out together
OWN = "split"  # inner folds that hold out what the split does
INNER = {
    OWN: "what the split holds out; the default for networks of a grid",
    DOMAIN: "the architecture and the task together; the default for networks drawn at random, and of transfer",
    "architecture": "the architecture",
    "task": "the task",
    "scenario": "the scenario",
}

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Kind:
    """A kind of random splits: what its test networks are new in, and, if it is not honest, why."""

    news: str
    caution: str = ""


RANDOM = {
    "scenario": Kind("scenarios it has not seen"),
    "strict": Kind("scenarios and model seeds it has not seen"),
    "network": Kind(
        "networks it has not seen",
        "is biased: its scenario is in training, under the same rule and the others",
    ),
    "paper": Kind("layers it has not seen", "leaks: other layers of the same network are in training"),
}


@dataclass(frozen=True)
class Fold:
    """Row numbers of one training and test part. `name` is the held-out value, or the split's number."""

    name: str
    train: Rows
    test: Rows


class Split(BaseCrossValidator):
    """A splitter of scikit-learn's kind: `cross_validate(…, groups=examples.groups, cv=Split("scenario"))`.

    Args:
        split: scenario, strict, network, paper, or a property of the networks to hold out, one value at a time.
        n_splits: random splits; held-out properties have one per value.
        target: what is to be named.
    """

    def __init__(self, split: str = "scenario", n_splits: int = 10, seed: int = 0, target: str = "rule") -> None:
        self.split_, self.n_splits, self.seed, self.target = split, n_splits, seed, target

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:
        """Row numbers of training and test parts.

        Args:
            groups: the examples' identity table (`Examples.groups`).

        Raises:
            ValueError: no identity table.
            RequestError: as `make` does.
        """
        for fold in self._folds(groups):
            yield fold.train, fold.test

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """How many there are."""
        return self.n_splits if self.split_ in RANDOM else len(self._folds(groups))

    def _folds(self, groups: Any) -> list[Fold]:
        if not isinstance(groups, pd.DataFrame):
            raise ValueError("Split needs to know who the examples are: give it groups=examples.groups")
        classes = labels(groups, self.target)
        return make(groups, classes, self.split_, self.n_splits, self.seed, self.target)


def news(split: str) -> str:
    """What the test networks of a split are new in, as in "accuracy on …"."""
    return RANDOM[split].news if split in RANDOM else f"a {split} it has not seen"


def labels(identity: pd.DataFrame, target: str) -> NDArray[np.str_]:
    """(examples,) the class of every example. Raises RequestError for a target that is not a property of a network."""
    if target not in PROPERTIES:
        raise unknown("target", target, PROPERTIES)
    classes = text(identity[target])
    if len(np.unique(classes)) < 2:
        raise RequestError(f"nothing to tell apart: every network of the dataset has {target} {str(classes[0])!r}")
    return classes


def units(identity: pd.DataFrame, split: str, target: str) -> NDArray[np.intp]:
    """(examples,) the number of the unit that each example belongs to; under a held-out property, of its scenario."""
    if split == "paper":
        return np.arange(len(identity))
    return _networks(identity) if split == "network" else scenarios(identity, target)


def make(
    identity: pd.DataFrame,
    classes: NDArray[np.str_],
    split: str,
    n_splits: int = 10,
    seed: int = 0,
    target: str = "rule",
) -> list[Fold]:
    """The splits named `split`: `n_splits` random ones, or one per value of a held-out property.

    Args:
        identity: the examples' identity table.
        classes: (examples,) the class of every example: `labels(identity, target)`, or those permuted.
        split: scenario, strict, network, paper, or a property to hold out.
        target: what the classes are of, and so no part of a scenario.

    Raises:
        RequestError: an unknown split, one that the target determines, too few units that hold a class, or no second model
            seed for `strict`.
    """
    if split not in (*RANDOM, *PROPERTIES):
        raise unknown("split", split, [*RANDOM, *PROPERTIES])
    if follows(split, target) or (split == "strict" and target in SEEDS):
        raise RequestError(
            f"the {split} split cannot be used to name the {target}: what it holds out follows from that"
        )
    unit = units(identity, split, target)
    member = unit if split == "paper" else _networks(identity)
    if split in RANDOM:
        _check_count(unit, classes, _named(split), FEWEST_UNITS)
        seeds = _seeds(identity) if split == "strict" else None
        return [
            _random(f"{number}", unit, seeds, member, classes, np.random.default_rng([seed, number]))
            for number in range(n_splits)
        ]
    return _held_out(text(identity[split]), unit, member, classes, split, seed)


@dataclass(frozen=True)
class Inner:
    """Folds of a training part, and what their scoring parts are new in: no more than the training part allows.

    Attributes:
        held_out: properties, or "scenario", "network" or "row".
        why: in words, why that is less than was asked for; empty where it is not.
    """

    folds: list[Fold]
    held_out: tuple[str, ...]
    why: str = ""


def inner(
    identity: pd.DataFrame,
    classes: NDArray[np.str_],
    train: Rows,
    split: str,
    seed: int,
    target: str = "rule",
) -> Inner:
    """Folds of a training part, to fit and to score on, which keep apart what the split keeps apart.

    Under a held-out property the folds hold out values of it, if every class is left to train on in each; else scenarios.
    Under `strict` they hold out model seeds, too, if there is more than one. Under `domain` both the architecture and the
    task are new where a fold is scored, and what is new in one of them alone is in neither part; where no deal leaves all
    classes on both sides the tasks are held out, else the architectures, else scenarios.

    Raises:
        RequestError: too few units hold some class for every fold to have it to train on.
    """
    rng = np.random.default_rng([seed, len(train)])
    everyone, inside = np.zeros(len(train), dtype=str), identity.iloc[train]

    def parts(*dealt: NDArray[np.intp]) -> list[Fold]:
        """Scored on what is new in every way in which it was dealt, and fitted on what is in none."""
        apart = [np.all([folds != k for folds in dealt], axis=0) for k in range(INNER_FOLDS)]
        new = [np.all([folds == k for folds in dealt], axis=0) for k in range(INNER_FOLDS)]
        return [Fold(f"{k}", train[apart[k]], train[new[k]]) for k in range(INNER_FOLDS)]

    def complete(found: Sequence[Fold]) -> bool:
        return all(len(fold.test) and set(classes[fold.train]) == set(classes[train]) for fold in found)

    def values(name: str) -> NDArray[np.intp]:
        return np.asarray(pd.factorize(text(inside[name]))[0], dtype=np.intp)

    def deal(value: NDArray[np.intp]) -> NDArray[np.intp]:
        return _deal(value, everyone, INNER_FOLDS, rng)

    def why(names: Sequence[str]) -> str:
        """Why folds do not hold out these."""
        single = " and ".join(f"a single {name}" for name in names if not values(name).any())
        return f"there is {single}" if single else "a fold would lack a class"

    short = ""
    if split == DOMAIN:
        several = {name: value for name in DOMAIN_OF if (value := values(name)).any()}
        for held_out in (DOMAIN_OF, *((name,) for name in reversed(DOMAIN_OF))):
            for _ in range(TRIES if set(held_out) <= set(several) else 0):
                found = parts(*(deal(several[name]) for name in held_out))
                if complete(found) and all(set(classes[fold.test]) == set(classes[train]) for fold in found):
                    return Inner(found, held_out, "" if held_out == DOMAIN_OF else why(DOMAIN_OF))
        short = why(DOMAIN_OF)
    if split in PROPERTIES:
        found = parts(deal(values(split)))
        if complete(found):
            return Inner(found, (split,))
        short = why([split])
    unit = units(identity, split, target)[train]
    for _ in range(TRIES):
        folds = _deal(unit, classes[train], INNER_FOLDS, rng)
        if complete(parts(folds)):
            break
    else:
        raise RequestError(
            f"too few {_named(split)}s per class to choose settings on {INNER_FOLDS} folds of a training part"
        )
    if split == "strict":
        if inside["model_seed"].nunique() > 1:
            seeds = _deal(pd.factorize(inside["model_seed"])[0], everyone, INNER_FOLDS, rng)
            sides = parts(folds, seeds)
            if complete(sides):
                return Inner(sides, _asked(split))
        short = why(["model_seed"])
    return Inner(parts(folds), (_named(split),), short)


def described(split: str, found: Sequence[Inner]) -> dict[str, Any]:
    """What inner folds hold out, of as many training parts.

    Args:
        split: what was asked of `inner`.

    Returns:
        {asked, held_out: {properties joined by "and": training parts}, sentence (where that is less than asked, else empty)}.
    """
    short = Counter((_joined(one), one.why) for one in found if one.why)
    said = [
        f"Inner folds hold out the {words} alone{f' in {count} of {len(found)} splits' * (len(found) > 1)}, "
        f"not {' and '.join(_asked(split))}: {why}."
        for (words, why), count in short.items()
    ]
    return {"asked": split, "held_out": dict(Counter(map(_joined, found))), "sentence": " ".join(said)}


def _joined(found: Inner) -> str:
    return " and ".join(found.held_out)


def _asked(split: str) -> tuple[str, ...]:
    """What inner folds hold out if they can."""
    return {DOMAIN: DOMAIN_OF, "strict": ("scenario", "model_seed")}.get(split, (split,))


def whole(
    identity: pd.DataFrame, classes: NDArray[np.str_], seed: int, inside: NDArray[np.bool_] | None = None
) -> Rows:
    """Everything as a training part: the rows of as many networks of each class as the rarest has.

    Args:
        inside: (examples,) of these alone.
    """
    rows = np.arange(len(identity)) if inside is None else np.flatnonzero(inside)
    return _balanced(rows, _networks(identity), classes, np.random.default_rng(seed))


def permute(
    identity: pd.DataFrame, classes: NDArray[np.str_], target: str, rng: np.random.Generator
) -> NDArray[np.str_]:
    """The classes exchanged among the networks that stay together: all layers of a network get the same permuted class.

    Exchanged among all, the classes would no longer be balanced within scenarios, and a split whose bias that balance makes
    would pass the test. Where nothing holds two classes, whole scenarios exchange theirs.
    """
    network, unit = _networks(identity), scenarios(identity, target)
    numbers, first, row_of = np.unique(network, return_index=True, return_inverse=True)
    old, place = classes[first], unit[first]
    if classes_held(place, pd.factorize(old)[0]).max() == 1:
        starts, of = np.unique(place, return_index=True, return_inverse=True)[1:]
        return old[starts][rng.permutation(len(starts))][of][row_of]
    shuffled = rng.permutation(len(numbers))
    new = np.empty_like(old)
    new[np.argsort(place, kind="stable")] = old[shuffled[np.argsort(place[shuffled], kind="stable")]]
    return new[row_of]


def overlap(identity: pd.DataFrame, parts: Sequence[Fold], split: str, target: str) -> float | None:
    """Tested units per trained one, on average over the splits: how much these share. None for held-out values."""
    if split not in RANDOM:
        return None
    unit = units(identity, split, target)
    return float(np.mean([len(np.unique(unit[part.test])) / len(np.unique(unit[part.train])) for part in parts]))


def _networks(identity: pd.DataFrame) -> NDArray[np.intp]:
    return pd.factorize(identity["network_id"])[0].astype(np.intp)


def _named(split: str) -> str:
    return {"network": "network", "paper": "row"}.get(split, "scenario")


def _check_count(unit: NDArray[np.intp], classes: NDArray[np.str_], name: str, fewest: int, where: str = "") -> None:
    counts = pd.DataFrame({"unit": unit, "class": classes}).drop_duplicates()["class"].value_counts().sort_index()
    if counts.min() < fewest:
        rarest = counts.sort_values(kind="stable").head(MOST_NAMED).sort_index()
        found = ", ".join(f"{one} {count}" for one, count in rarest.items()) + (
            ", …" if len(counts) > len(rarest) else ""
        )
        raise RequestError(
            f"too few {name}s per class{where}: at least {fewest} are needed, found {found}"
            + "; those that lack a class count as one where they start alike: share rates and sizes over the classes, or add "
            "architectures or tasks" * (name == "scenario")
        )


def _seeds(identity: pd.DataFrame) -> NDArray[np.intp]:
    seeds = pd.factorize(identity["model_seed"])[0].astype(np.intp)
    if seeds.max() < 1:
        raise RequestError(
            "the strict split holds out model seeds, and all networks have the same one: give the spec seeds = 2 or more"
        )
    return seeds


def _held_in(unit: NDArray[np.intp], classes: NDArray[np.str_]) -> pd.Series:
    """For every unit, by its number, the classes that it holds, as one word."""
    table = pd.DataFrame({"unit": unit, "class": classes}).drop_duplicates().sort_values("class")
    return table.groupby("unit")["class"].agg("\0".join)


def _random(
    name: str,
    unit: NDArray[np.intp],
    seeds: NDArray[np.intp] | None,
    member: NDArray[np.intp],
    classes: NDArray[np.str_],
    rng: np.random.Generator,
) -> Fold:
    """One unit in four to the test part, alike from units that hold the same classes."""
    held = _held_in(unit, classes)
    for _ in range(TRIES):
        shuffled = held.sample(frac=1, random_state=rng)
        ordered = shuffled.sort_values(kind="stable").index.to_numpy()
        test = np.isin(unit, ordered[rng.integers(TESTED) :: TESTED])
        train = ~test
        if seeds is not None:
            drawn = rng.permutation(seeds.max() + 1)
            tested = np.isin(seeds, drawn[: max(1, round(len(drawn) / TESTED))])
            test, train = test & tested, train & ~tested
        if all(set(classes[side]) == set(classes) for side in (test, train)):
            return Fold(name, _balanced(np.flatnonzero(train), member, classes, rng), np.flatnonzero(test))
    raise RequestError(
        "the classes are too unevenly spread over the scenarios: no split leaves all of them on both sides"
    )


def _balanced(rows: Rows, member: NDArray[np.intp], classes: NDArray[np.str_], rng: np.random.Generator) -> Rows:
    """The rows of as many members of each class as the rarest has."""
    drawn = [rng.permutation(np.unique(member[rows][classes[rows] == one])) for one in np.unique(classes[rows])]
    fewest = min(map(len, drawn))
    kept = np.concatenate([each[:fewest] for each in drawn])
    return rows[np.isin(member[rows], kept)]


def _held_out(
    values: NDArray[np.str_],
    unit: NDArray[np.intp],
    member: NDArray[np.intp],
    classes: NDArray[np.str_],
    split: str,
    seed: int,
) -> list[Fold]:
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
        _check_count(unit[inside], classes[inside], "scenario", FEWEST_UNITS - 1, f" without {split} {str(value)!r}")
        train = _balanced(np.flatnonzero(inside), member, classes, np.random.default_rng([seed, number]))
        found.append(Fold(str(value), train, np.flatnonzero(~inside)))
    return found


def _deal(
    unit: NDArray[np.intp], stratum: NDArray[np.str_], n_folds: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """The fold of each row: the units are dealt out in turn, those that hold the same strata one after the other."""
    held = _held_in(unit, stratum).sample(frac=1, random_state=rng).sort_values(kind="stable")
    return pd.Series(np.arange(len(held)) % n_folds, held.index)[unit].to_numpy(dtype=np.intp)
