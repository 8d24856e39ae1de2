"""Scenarios: everything about a network but its seeds, what is to be named, and what follows from that.

Networks of one scenario that differ in class are near-copies: before learning they may be the same, bit for bit. So all of
them stay on one side of a split. If they did not, whatever tells the scenario would say of a test network that it is of
another class: a scenario under *one* rule, the unit of many published splits, names 0.06–0.11 of networks that have learned
nothing, where chance is 0.25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generator.schema import NETWORKS, SETTINGS

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
# What a design may draw for each network alone, so that no other network has just the same.
_DRAWN = {"learning_rate", "weight_decay", "rate"}
_NAMES = {"network_id", "configuration"}
_IDENTITY = NETWORKS.names[: NETWORKS.names.index("status")]
PROPERTIES = tuple(name for name in (*_IDENTITY, *SETTINGS) if name not in _NAMES)  # of a network


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


def scenarios(identity: pd.DataFrame, target: str) -> NDArray[np.intp]:
    """(examples,) the number of each example's scenario.

    Where rates or decays were drawn for each network alone, so that no two classes share a scenario, these do not count: what
    stays together then is shape × task.
    """
    names = columns(target)
    found, codes = _numbered(identity, names), pd.factorize(identity[target].astype(str))[0]
    if not _shared(found, codes):
        shapes = _numbered(identity, [name for name in names if name not in _DRAWN])
        if _shared(shapes, codes):
            return shapes
    return found


def _numbered(identity: pd.DataFrame, names: Sequence[str]) -> NDArray[np.intp]:
    known = [name for name in names if identity[name].nunique(dropna=False) > 1]
    if not known:
        return np.zeros(len(identity), dtype=np.intp)
    return np.asarray(identity.groupby(known, dropna=False, sort=False).ngroup(), dtype=np.intp)


def _shared(unit: NDArray[np.intp], codes: NDArray[np.intp]) -> bool:
    """Whether any unit holds two classes."""
    return len(np.unique(np.stack([unit, codes]), axis=1).T) > len(np.unique(unit))


@dataclass(frozen=True)
class Design:
    """How the classes share the scenarios of a dataset: of `scenarios` in all, `whole` hold every class, `single` one alone."""

    target: str
    scenarios: int
    whole: int
    single: int

    @classmethod
    def of(cls, identity: pd.DataFrame, target: str) -> Design:
        """Of the networks in an identity table."""
        table = pd.DataFrame({"unit": _numbered(identity, columns(target)), "class": identity[target].astype(str)})
        held = table.groupby("unit")["class"].nunique()
        return cls(target, len(held), int((held == table["class"].nunique()).sum()), int((held == 1).sum()))

    @property
    def sentence(self) -> str:
        """What to keep in mind where scenarios are not shared by all classes; empty where they are."""
        if self.whole == self.scenarios:
            return ""
        what, some = self.target.replace("_", " "), self.scenarios - self.whole - self.single
        return (
            f"Of {self.scenarios} scenarios {self.whole} hold every {what}, {some} lack some and {self.single} hold a single "
            f"one: there the scenario itself says something of the {what} (how much: identity alone, in `rulescope controls`)."
        )
