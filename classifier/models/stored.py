"""Models on disk: a directory with the classifier, a card that says what it is, and its importances. One way in, one way out.

`card.json` says which trajectories the model reads and how they become features, so only the classifier itself is stored beside
it, in the format that the card names (`formats.py`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.features import TrajectoryFeatures, inputs
from classifier.examples.trajectories import Examples
from classifier.models.card import Card, importance_file, load_card
from classifier.models.estimators import log_scores
from classifier.models.formats import FORMATS
from generator.dataset.storage import Folder
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


def check_place(location: str | os.PathLike[str] | Folder) -> None:
    """Raises RequestError if a model cannot be written there, or if there is something else."""
    folder = Folder.of(location)
    if not folder.exists("card.json") and folder.occupied():
        raise RequestError(f"{location} exists and is not a model: name a new directory")
    try:
        folder.check_writable()
    except RequestError as error:
        raise RequestError(f"cannot write the model to {location}: {error}") from error


def kept(classifier: Any, format_: str) -> bytes:
    """A classifier's file. Raises RequestError if it is of a type that no stored model may hold."""
    written = FORMATS[format_]
    content = written.dump(classifier)
    try:
        written.load(content, written.file)
    except RequestError as error:
        raise RequestError(f"this model cannot be kept: {error}") from error
    return content


def save(location: str | os.PathLike[str] | Folder, model: Model, importances: Mapping[str, pd.DataFrame]) -> None:
    """Write a model with importances by method, at a path or a filesystem URI; a model that is there already is replaced.

    Raises:
        RequestError: it cannot be written, or the classifier is of a type that no stored model may hold.
    """
    folder, written = Folder.of(location), FORMATS[model.card.format]
    files = {written.file: kept(model.classifier, model.card.format)}
    files |= {importance_file(method): _parquet(table) for method, table in importances.items()}
    try:
        ours = {each.file for each in FORMATS.values()}
        for info in folder.files(""):
            if info.base_name in ours or fnmatch(info.base_name, importance_file("*")):
                folder.remove(info.base_name)
        for name, content in files.items():
            folder.publish(name, content)
        folder.publish("card.json", (json.dumps(asdict(model.card), indent=1, ensure_ascii=False) + "\n").encode())
    except (OSError, RequestError) as error:
        raise RequestError(f"cannot write the model to {location}: {error}") from error


def _parquet(table: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()


def load(location: str | os.PathLike[str] | Folder) -> Model:
    """A stored model, at a path or a filesystem URI.

    Raises:
        RequestError: it is damaged or holds a type outside the allow-list.
    """
    card, folder = load_card(location), Folder.of(location)
    if card.format not in FORMATS:
        raise unknown("format of a model", card.format, FORMATS, str(location))
    written = FORMATS[card.format]
    where = f"{location}/{written.file}"
    if not folder.exists(written.file):
        raise RequestError(f"{where} is missing; `rulescope train` writes it")
    classifier = written.load(folder.read(written.file), where)
    if len(getattr(classifier, "classes_", ())) != len(card.labels):
        raise RequestError(f"{where} is damaged: it does not name the {len(card.labels)} classes of its card")
    return Model(card, classifier)
