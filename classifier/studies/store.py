"""Scores that were measured once: `<dataset>/report/conditions/` keeps them for the studies that ask for the same.

Robustness, controls and power all score classifiers under measurement conditions. A file holds what classifiers of one model,
feature set, number of splits and seed reached on the dataset as far as it is complete, with the same versions of the
libraries. A row is one condition. A damaged file is measured anew, and a dataset that cannot be written to is left without.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from classifier.models.stored import versions
from classifier.studies.study import Study
from generator.dataset.schema import DatasetError
from generator.dataset.storage import Dataset

VERSION = 1
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
        about = {"store": VERSION, "model": model, "features": study.features[0], "n_splits": study.n_splits}
        self._about = about | {"seed": study.seed, "versions": versions()}
        self._dataset = dataset
        self._rows: dict[str, Found] = {}
        if dataset is not None:
            cohorts = json.dumps([self._about, sorted(dataset.complete())], sort_keys=True)
            self._name = f"{FOLDER}/{hashlib.blake2b(cohorts.encode(), digest_size=8).hexdigest()}.json"
            rows = dataset.read_json(self._name).get("rows")
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, dict) and _sound(row.get("found")):
                    self._rows[_key(row.get("asked"))] = row["found"]

    def get(self, asked: Mapping[str, Any]) -> Found | None:
        """What was found under a condition; None if it was not measured yet."""
        return self._rows.get(_key(asked))

    def keep(self, found: list[tuple[Mapping[str, Any], Found]]) -> None:
        """Add what was found under some conditions."""
        self._rows |= {_key(asked): one for asked, one in found}
        if self._dataset is None or not found:
            return
        rows = [{"asked": json.loads(key), "found": one} for key, one in self._rows.items()]
        try:
            self._dataset.publish(self._name, json.dumps({**self._about, "rows": rows}, allow_nan=False).encode())
        except DatasetError as error:
            Console(stderr=True).print(f"not kept for the next question: {error}", highlight=False, soft_wrap=True)
            self._dataset = None

    def once(self, asked: Mapping[str, Any], measure: Callable[[], Found]) -> Found:
        """What was found under a condition, measured if it was not yet."""
        if (known := self.get(asked)) is None:
            known = measure()
            self.keep([(asked, known)])
        return known


def _key(asked: object) -> str:
    return json.dumps(asked, sort_keys=True)


_NUMBERS = (int, float, type(None))


def _sound(found: object) -> bool:
    """Whether this can be what was found: numbers, and the text, lists and counts that go with them."""
    if not isinstance(found, dict) or not isinstance(found.get("network_mean"), float):
        return False
    labels, counts = found.get("labels", []), found.get("confusion", [])
    matrix = isinstance(counts, list) and all(
        isinstance(row, list) and len(row) == len(counts) and all(isinstance(one, int) for one in row) for row in counts
    )
    words = isinstance(labels, list) and all(isinstance(one, str) for one in labels)
    others = [one for key, one in found.items() if key not in ("labels", "confusion", "design")]
    known = isinstance(found.get("design", ""), str) and all(isinstance(one, _NUMBERS) for one in others)
    return words and matrix and len(labels) == len(counts) and known
