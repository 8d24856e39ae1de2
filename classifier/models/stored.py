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
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.features import DEPTHS, Feature, TrajectoryFeatures, blocks, inputs, layout
from classifier.examples.trajectories import Examples
from classifier.models import soundness
from classifier.models.card import Card, load_card
from classifier.models.estimators import log_scores
from classifier.models.formats import FORMATS, LARGEST
from classifier.models.problem import tabled
from generator.dataset.folder import Folder
from generator.errors import RequestError, unknown

OURS = r"classifier-[0-9a-f]{8}\.(json|skops)|importance_\w+-[0-9a-f]{8}\.parquet"  # files that a model has
_LIBRARIES = ("numpy", "scikit-learn", "xgboost", "torch", "skops")


@dataclass(frozen=True)
class Model:
    """A fitted classifier with its card."""

    card: Card
    classifier: Any

    @cached_property
    def transformer(self) -> TrajectoryFeatures:
        """What makes the classifier's features, the depth among them."""
        made = TrajectoryFeatures(self.card.features, tuple(self.card.statistics), self.card.checkpoints)
        width = self.card.checkpoints * len(self.card.statistics) + len(DEPTHS)
        return made.fit(np.empty((0, width), np.float32))

    @cached_property
    def places(self) -> dict[str, int]:
        """The columns of the classifier's table, by the feature's name."""
        return {name: place for place, name in enumerate(self.transformer.get_feature_names_out())}

    @property
    def features(self) -> int:
        """How many the classifier reads."""
        return len(self.places)

    def relations(self) -> list[tuple[str, str, list[str]]]:
        """("relation", its name, all statistics) of each that its features have, if there are several."""
        found = list(dict.fromkeys(relation for _, relation in blocks(self.card.features)))
        return [("relation", name, self.card.statistics) for name in found if len(found) > 1]

    def related(self, relation: str) -> list[int]:
        """The columns of its table that have a relation. The depth has none."""
        parts = {place: Feature.named(name) for name, place in self.places.items()}
        return [place for place, each in parts.items() if each.column is not None and each.relation == relation]

    def table(self, examples: Examples) -> NDArray[np.float32]:
        """(examples, features). Raises RequestError if the examples lack statistics or checkpoints."""
        if examples.checkpoints != self.card.checkpoints:
            raise RequestError(
                f"the model reads {self.card.checkpoints} checkpoints per trajectory; these have {examples.checkpoints}"
            )
        return tabled(self.transformer, examples.select(self.card.statistics))

    def renewed(self, table: NDArray[np.float32], examples: Examples, statistics: Sequence[str]) -> NDArray[np.float32]:
        """The table with the columns of these statistics made anew of these examples: every column is of one statistic.

        Args:
            table: (examples, features) of examples that differ in no other statistic.
        """
        part = TrajectoryFeatures(self.card.features, tuple(statistics), self.card.checkpoints)
        made = part.fit_transform(inputs(examples.select(statistics)))
        found = table.copy()
        found[:, [self.places[name] for name in part.get_feature_names_out()]] = made
        return found

    def log_scores(self, examples: Examples) -> NDArray[np.float64]:
        """(examples, labels) log scores. Raises RequestError if the examples lack statistics or checkpoints."""
        return log_scores(self.classifier, self.table(examples), layout(examples))


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
    folder.check_writable("card.json")


def kept(classifier: Any, format_: str) -> bytes:
    """A classifier's file. Raises RequestError if no stored model may hold it: it could not be loaded again."""
    written = FORMATS[format_]
    content = written.dump(classifier)
    try:
        written.load(content, f"classifier{written.suffix}")
    except RequestError as error:
        raise RequestError(f"this model cannot be kept: {error}") from error
    return content


def save(location: str | os.PathLike[str] | Folder, model: Model, importances: Mapping[str, pd.DataFrame]) -> Card:
    """Write a model with importances by method, at a path or a filesystem URI, and return its card, sealed.

    A model that is there already is replaced at once, when the card is: until then, and if this fails, it is the old one.

    Raises:
        RequestError: it cannot be written, or the classifier is of a type that no stored model may hold.
    """
    folder, written = Folder.of(location), FORMATS[model.card.format]
    content = kept(model.classifier, model.card.format)
    card = model.card.sealed(content)
    files = {card.file(written.suffix): content}
    files |= {card.importances(method): _parquet(table) for method, table in importances.items()}
    try:
        for name, made in files.items():
            folder.publish(name, made)
        folder.publish("card.json", (json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n").encode())
        for info in folder.files(""):
            if info.base_name not in files and re.fullmatch(OURS, info.base_name):
                folder.remove(info.base_name)
    except (OSError, RequestError) as error:
        raise RequestError(f"cannot write the model to {location}: {error}") from error
    return card


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
    name = card.file(FORMATS[card.format].suffix)
    where = f"{location}/{name}"
    if not folder.exists(name):
        raise RequestError(f"{where} is missing; `rulescope train` writes it")
    if (size := folder.stamp(name) or (0, 0))[1] > LARGEST:
        raise RequestError(f"{where} is refused: it has {size[1] / 1e9:.1f} GB, of at most {LARGEST / 1e9:.1f}")
    content = folder.read(name)
    if card.sealed(content) != card:
        raise RequestError(f"{where} is damaged, or {location}/card.json is: they do not belong together")
    model = Model(card, FORMATS[card.format].load(content, where))
    try:
        soundness.answers(model.classifier, len(card.labels), model.features)
    except ValueError as error:
        raise RequestError(f"{where} is damaged: {error}") from error
    return model
