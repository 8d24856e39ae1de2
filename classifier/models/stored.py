"""Models on disk, without pickle: a directory with the classifier, a card that says what it is, and its importances.

`card.json` says which trajectories the model reads and how they become features, so only the classifier itself is
stored: `classifier.skops` (scikit-learn, and the convolution, whose weights are plain arrays) or `classifier.json`
(XGBoost's own format). A skops file may hold only the types that skops trusts and those in `ALLOWED_TYPES`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import zipfile
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
from generator.errors import RequestError

ALLOWED_TYPES = [
    "classifier.models.convolution.Convolution",
    "classifier.models.estimators.HeavyTails",
    "classifier.models.estimators.RowSpaceSVC",
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
]
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
    import skops.io

    folder = Path(location)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in (folder / "classifier.skops", folder / "classifier.json", *folder.glob("importance*.parquet")):
            file.unlink(missing_ok=True)
        if model.card.model == "xgboost":
            model.classifier.save_model(folder / "classifier.json")
        else:
            skops.io.dump(model.classifier, folder / "classifier.skops", compression=zipfile.ZIP_DEFLATED)
        for method, table in importances.items():
            table.to_parquet(importance_file(folder, method), index=False)
        (folder / "card.json").write_text(json.dumps(asdict(model.card), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RequestError(f"cannot write the model to {folder}: {error.strerror or error}") from error
    return folder


def load(location: str | os.PathLike[str]) -> Model:
    """A stored model. Raises RequestError if it is damaged or holds a type outside the allow-list."""
    card = load_card(location)
    xgboost = card.model == "xgboost"
    path = Path(location) / ("classifier.json" if xgboost else "classifier.skops")
    if not path.is_file():
        raise RequestError(f"{path} is missing; `rulescope train` writes it")
    classifier = _load_xgboost(path) if xgboost else _load_skops(path)
    if len(getattr(classifier, "classes_", ())) != len(card.labels):
        raise RequestError(f"{path} is damaged: it does not name the {len(card.labels)} classes of its card")
    return Model(card, classifier)


def _load_skops(path: Path) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    content = path.read_bytes()
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise RequestError(f"{path} is damaged: it is not a skops file")
    try:
        foreign = [name for name in skops.io.get_untrusted_types(data=content) if name not in ALLOWED_TYPES]
        if foreign:
            raise RequestError(f"{path} is refused: it holds the type {foreign[0]!r}, which is not on the allow-list")
        return skops.io.loads(content, trusted=ALLOWED_TYPES)
    except UntrustedTypesFoundException as error:
        raise RequestError(f"{path} is refused: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is damaged: {error!r}") from error


def _load_xgboost(path: Path) -> Any:
    from xgboost import XGBClassifier
    from xgboost.core import XGBoostError

    classifier = XGBClassifier(n_jobs=1)
    try:
        classifier.load_model(path)
    except XGBoostError as error:
        raise RequestError(f"{path} is damaged: {str(error).splitlines()[-1]}") from error
    return classifier
