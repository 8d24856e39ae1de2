"""Scores that were measured once: `<dataset>/report/conditions/` keeps them for the studies that ask for the same.

Robustness, controls and power all score classifiers under measurement conditions. A file holds what classifiers of one model,
feature set, number of splits and seed reached on the dataset as far as it is complete, on these very files, with the same
versions of the libraries. A row is one condition. A damaged file is measured anew, and a dataset that cannot be written to is
left without.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from classifier.models.stored import versions
from classifier.studies.study import Study
from generator.console import Shown
from generator.dataset.schema import DatasetError
from generator.dataset.storage import Dataset

VERSION = 2
FOLDER = "report/conditions"

Found = dict[str, Any]


class Store:
    """The scores of one model under one kind of study.

    Args:
        dataset: where they are kept; None: for as long as this object lives.
        model: a name in `estimators.MODELS`.
        study: of which the first feature set, the number of splits and the seed are common to all scores in a file.
    """

    def __init__(self, dataset: Dataset | None, model: str, study: Study) -> None:
        self._about = {
            **{"store": VERSION, "rulescope": version("rulescope"), "versions": versions()},
            **{"model": model, "features": study.features[0], "n_splits": int(study.n_splits), "seed": int(study.seed)},
        }
        self._dataset = dataset
        self._rows: dict[str, Found] = {}
        if dataset is not None:
            self._files = dataset.stamps()
            depends = json.dumps([self._about, dataset.settings(), dataset.digest(self._files)], sort_keys=True)
            self._name = f"{FOLDER}/{hashlib.blake2b(depends.encode(), digest_size=8).hexdigest()}.json"
            self._rows = self._read(dataset)

    def _read(self, dataset: Dataset) -> dict[str, Found]:
        """What the file holds, but for what cannot have been found."""
        rows = dataset.read_json(self._name).get("rows")
        sound = (
            [row for row in rows if isinstance(row, dict) and _sound(row.get("found"))]
            if isinstance(rows, list)
            else []
        )
        return {_key(row.get("asked")): row["found"] for row in sound}

    def get(self, asked: Mapping[str, Any]) -> Found | None:
        """What was found under a condition; None if it was not measured yet."""
        return self._rows.get(_key(asked))

    def keep(self, found: list[tuple[Mapping[str, Any], Found]]) -> None:
        """Add what was found under some conditions."""
        self._rows |= {_key(asked): one for asked, one in found}
        if self._dataset is None or not found:
            return
        if self._dataset.stamps() != self._files:  # it grew meanwhile, or changed: nobody can say of what these are
            self._dataset = None
            return
        self._rows = self._read(self._dataset) | self._rows  # what another study kept meanwhile
        rows = [{"asked": json.loads(key), "found": one} for key, one in self._rows.items()]
        try:
            self._dataset.publish(self._name, json.dumps({**self._about, "rows": rows}, allow_nan=False).encode())
        except DatasetError as error:
            Shown(stderr=True).print(f"not kept for the next question: {error}", soft_wrap=True)
            self._dataset = None

    def once(self, asked: Mapping[str, Any], measure: Callable[[], Found]) -> Found:
        """What was found under a condition, measured if it was not yet."""
        if (known := self.get(asked)) is None:
            known = measure()
            self.keep([(asked, known)])
        return known


def _key(asked: object) -> str:
    return json.dumps(asked, sort_keys=True)


def _sound(found: object) -> bool:
    """Whether this can be what was found: shares within 0 and 1, and the text, lists and counts that go with them."""
    if not isinstance(found, dict) or not _share(found.get("network_mean")):
        return False
    errors = [found[name] for name in found if name.endswith(("_sem", "_reach", "_low", "_high"))]
    if not _share(found.get("layer_mean", 0)) or not all(one is None or _number(one) for one in errors):
        return False
    if set(found) == {"network_mean", "network_sem"}:  # of permuted labels
        return True
    labels, counts = found.get("labels"), found.get("confusion")
    if not isinstance(labels, list) or not isinstance(counts, list) or len(labels) != len(counts):
        return False
    matrix = all(
        isinstance(row, list) and len(row) == len(counts) and all(isinstance(one, int) and one >= 0 for one in row)
        for row in counts
    )
    words = all(isinstance(one, str) for one in (*labels, found.get("design")))
    about = [found.get(name) for name in ("sessions", "networks")]
    units = "units" in found and (found["units"] is None or _number(found["units"]))
    whole = all(f"{level}_{name}" in found for level in ("layer", "network") for name in ENDS)
    return matrix and words and units and whole and all(isinstance(one, int) and one > 0 for one in about)


ENDS = ("mean", "sem", "reach", "low", "high")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1
