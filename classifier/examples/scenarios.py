"""Scenarios: everything about a network but its seeds, what is to be named, and what follows from that.

Networks of one scenario that differ in class are near-copies: before learning they may be the same, bit for bit. So all of
them stay on one side of a split. If they did not, whatever tells the scenario would say of a test network that it is of
another class: with a scenario under *one* rule as the unit, 0.06–0.11 of networks that have learned nothing are named, where
chance is 0.25.

Networks of other scenarios may start alike, too: those that differ in rate, decay, batch size, … have equal initial weights.
That does no harm where their scenarios hold the same classes, as those of a grid do. Scenarios that lack a class which others
hold that start alike (each rule has rates of its own, say) stay together.

In a sampled design every network has a rate and a decay of its own, and the networks of a shape start alike under every rule.
There the scenario is shape × task: all its rates, decays, seeds and rules together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.trajectories import SAMPLED
from generator.dataset.schema import NETWORKS, SETTINGS

SEEDS = ("model_seed", "data_seed")
# Columns that name one thing between them: who names one of them names a part of the others.
_TOGETHER = (
    {"rule", "pathway", "update", "rule_parameters"},
    {"family", "architecture"},
    {"curriculum", "task", "objective"},
)
_MADE = {  # columns that others determine
    "layers": {"architecture", "objective"},
    "weights": {"architecture", "objective", "task", "width", "pixels", "stem"},
    "steps": {"task", "batch_size", "epochs"},
    "rate": {"rule", "learning_rate", "schedule", "batch_size"},
}
_DEFAULT = {  # columns whose default others determine
    "pixels": {"task", "architecture"},
    "stem": {"architecture", "pixels"},
    "weight_decay": {"architecture"},
}
# What networks that start alike may differ in, from what matters least: with these gone, what is left fixes the initial weights.
_FREE = (
    {"learning_rate", "weight_decay", "rate"},
    {"batch_size", "schedule", "precision", "epochs", "steps", "rule", "pathway", "update", "rule_parameters"},
    {"curriculum", "task", "objective"},
)
OF_NETWORKS = (
    "learning_rate",
    "weight_decay",
    "rate",
)  # what networks of one drawn shape differ in, beside rule and seeds
_SHAPE = {"family", "architecture", "nonlinearity", "width", "stem", "pixels", "layers", "weights"}
_NAMES = {"network_id", "configuration"}
_IDENTITY = NETWORKS.names[: NETWORKS.names.index("status")]
PROPERTIES = tuple(name for name in (*_IDENTITY, *SETTINGS) if name not in _NAMES)  # of a network


def text(column: pd.Series) -> NDArray[np.str_]:
    """The values of a property as text, whatever they are; a missing one, too."""
    return np.array([str(value) for value in column], dtype=str)


def _closed(names: set[str]) -> set[str]:
    """With these columns all that stand together with them, or follow from them."""
    while True:
        more = {name for group in _TOGETHER if group & names for name in group}
        more |= {name for name, causes in (*_MADE.items(), *_DEFAULT.items()) if causes & names}
        if more <= names:
            return names
        names = names | more


def columns(target: str) -> list[str]:
    """The columns that tell scenarios apart when `target` is to be named."""
    gone = _closed({target} | _MADE.get(target, set()))
    return [name for name in PROPERTIES if name not in gone and name not in SEEDS]


def drawn(identity: pd.DataFrame) -> bool:
    """Whether networks of a sampled design are among these."""
    return SAMPLED in identity and bool(identity[SAMPLED].any())


def follows(name: str, target: str) -> bool:
    """Whether a property follows from the target without being a part of its name: the absolute rate follows from the rule."""
    together = {target}.union(*(group for group in _TOGETHER if target in group))
    return name in _closed({target}) - together


def scenarios(identity: pd.DataFrame, target: str) -> NDArray[np.intp]:
    """(examples,) the number of what each example stays together with: its scenario, or several that lack a class."""
    return _units(_varying(identity, columns(target)), pd.factorize(text(identity[target]))[0], target)


def _units(varying: pd.DataFrame, codes: NDArray[np.intp], target: str) -> NDArray[np.intp]:
    """The same from the columns that tell scenarios apart, as `_varying` gives them, and the number of each example's class."""
    names = columns(target)
    unit = _numbered(varying, names)
    if target in _SHAPE:  # networks of other classes do not start alike
        return unit
    for free in _FREE:
        names = [name for name in names if name not in free]
        unit = _merged(unit, _numbered(varying, names), codes)
    return unit


def _varying(identity: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Of those columns that hold several values, the number of each example's."""
    numbers = {name: pd.factorize(_pooled(identity, name), use_na_sentinel=False)[0] for name in names}
    return pd.DataFrame({name: found for name, found in numbers.items() if found.any()}, index=range(len(identity)))


def _pooled(identity: pd.DataFrame, name: str) -> pd.Series:
    """A column, without what the networks of a drawn shape differ in."""
    if name not in OF_NETWORKS or SAMPLED not in identity:
        return identity[name]
    return identity[name].mask(identity[SAMPLED].to_numpy(dtype=bool))


def _numbered(varying: pd.DataFrame, names: Sequence[str]) -> NDArray[np.intp]:
    """(examples,) the number of each example's combination of values, in order of appearance."""
    number = np.zeros(len(varying), dtype=np.intp)
    for name in names:
        if name in varying:
            one = varying[name].to_numpy()
            number = pd.factorize(number * (one.max() + 1) + one)[0].astype(np.intp)
    return number


def _merged(unit: NDArray[np.intp], kind: NDArray[np.intp], codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """The units, where all of a kind that lack one of its classes are one."""
    lacking = classes_held(unit, codes) < classes_held(kind, codes)
    return pd.factorize(np.where(lacking, -1 - kind, unit))[0].astype(np.intp)


def classes_held(unit: NDArray[np.intp], codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """(examples,) how many classes each example's unit holds."""
    held = pd.DataFrame({"unit": unit, "code": codes}).groupby("unit")["code"].transform("nunique")
    return np.asarray(held, dtype=np.intp)


@dataclass(frozen=True)
class Sharing:
    """How the classes of a dataset share its scenarios, and what stays together in splits.

    Attributes:
        scenarios, whole, single: how many there are, hold every class, hold one alone.
        units, whole_units: what stays together, and how many of these hold every class.
        missing: networks that a design of all classes × scenarios × seeds would have beside those that are there.
    """

    target: str
    scenarios: int
    whole: int
    single: int
    units: int
    whole_units: int
    missing: int

    @classmethod
    def of(cls, identity: pd.DataFrame, target: str) -> Sharing:
        """Of the networks in an identity table."""
        codes = pd.factorize(text(identity[target]))[0]
        count, names, seeds = len(np.unique(codes)), columns(target), [seed for seed in SEEDS if seed != target]
        varying = _varying(identity, [*names, *seeds])

        def held(unit: NDArray[np.intp]) -> NDArray[np.intp]:
            return classes_held(unit, codes)[np.unique(unit, return_index=True)[1]]

        fine, kept, alike = (
            held(unit)
            for unit in (
                _numbered(varying, names),
                _units(varying, codes, target),
                _numbered(varying, [*names, *seeds]),
            )
        )
        whole, single, missing = int((fine == count).sum()), int((fine == 1).sum()), int((count - alike).sum())
        return cls(target, len(fine), whole, single, len(kept), int((kept == count).sum()), missing)

    @property
    def sentence(self) -> str:
        """What to keep in mind where scenarios are not shared by all classes; empty where they are."""
        if self.whole == self.scenarios:
            return ""
        what = self.target.replace("_", " ")
        first = f"Of {self.scenarios} scenarios {self.whole} hold every {what} and {self.single} a single one"
        if self.units < self.scenarios:
            first += f"; those that lack some stay with others that start alike, which leaves {self.units} units"
        if self.whole_units == self.units:
            return f"{first}."
        return (
            f"{first}. {self.units - self.whole_units} of {self.units} say something of the {what} by what they are; "
            f"`rulescope controls DATASET --target {self.target}` says how much (identity alone)."
        )
