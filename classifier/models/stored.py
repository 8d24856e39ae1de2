"""Models on disk: a directory with the classifier, a card that says what it is, and its importances. One way in, one way out.

`card.json` says which trajectories the model reads and how they become features, so only the classifier itself is stored beside
it, in the format that the card names (`formats.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.features import TrajectoryFeatures, inputs
from classifier.examples.trajectories import Examples
from classifier.models.card import Card, importance_file, load_card
from classifier.models.estimators import log_scores
from classifier.models.formats import FORMATS
from generator.errors import RequestError, unknown

_LIBRARIES = ("numpy", "scikit-learn", "xgboost", "torch", "skops")


@dataclass(frozen=True)
class Model:
    """A fitted classifier with its card."""

    card: Card
    classifier: Any

    @cached_property
    def transformer(self) -> TrajectoryFeatures:
        """What makes the classifier's features."""
        return TrajectoryFeatures(self.card.features, tuple(self.card.statistics), self.card.checkpoints)

    def table(self, examples: Examples) -> NDArray[np.float32]:
        """(examples, features). Raises RequestError if the examples lack statistics or checkpoints."""
        if examples.checkpoints != self.card.checkpoints:
            raise RequestError(
                f"the model reads {self.card.checkpoints} checkpoints per trajectory; these have {examples.checkpoints}"
            )
        return self.transformer.fit_transform(inputs(examples.select(self.card.statistics)))

    def log_scores(self, examples: Examples) -> NDArray[np.float64]:
        """(examples, labels) log scores. Raises RequestError if the examples lack statistics or checkpoints."""
        return log_scores(self.classifier, self.table(examples))


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that a stored model depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def digest(examples: Examples, classes: NDArray[np.str_]) -> str:
    """A hash of the trajectories and classes, 32 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=16)
    found.update(np.ascontiguousarray(examples.values).tobytes())
    for text in ("\n".join(examples.statistics), "\n".join(examples.identity["network_id"]), "\n".join(classes)):
        found.update(text.encode())
    return found.hexdigest()


def save(location: str | os.PathLike[str], model: Model, importances: Mapping[str, pd.DataFrame]) -> Path:
    """Write a model directory with importances by method; a model that is there already is replaced.

    Raises:
        RequestError: it cannot be written.
    """
    folder, written = Path(location), FORMATS[model.card.format]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in (*(folder / each.file for each in FORMATS.values()), *folder.glob("importance*.parquet")):
            file.unlink(missing_ok=True)
        written.write(model.classifier, folder / written.file)
        try:
            written.read(folder / written.file)
        except RequestError as error:  # a classifier of a type that no stored model may hold, say
            (folder / written.file).unlink()
            raise RequestError(f"this model cannot be kept: {error}") from error
        for method, table in importances.items():
            table.to_parquet(importance_file(folder, method), index=False)
        (folder / "card.json").write_text(json.dumps(asdict(model.card), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RequestError(f"cannot write the model to {folder}: {error.strerror or error}") from error
    return folder


def load(location: str | os.PathLike[str]) -> Model:
    """A stored model. Raises RequestError if it is damaged or holds a type outside the allow-list."""
    card = load_card(location)
    if card.format not in FORMATS:
        raise unknown("format of a model", card.format, FORMATS, str(location))
    path = Path(location) / FORMATS[card.format].file
    if not path.is_file():
        raise RequestError(f"{path} is missing; `rulescope train` writes it")
    classifier = FORMATS[card.format].read(path)
    if len(getattr(classifier, "classes_", ())) != len(card.labels):
        raise RequestError(f"{path} is damaged: it does not name the {len(card.labels)} classes of its card")
    return Model(card, classifier)
