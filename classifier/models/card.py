"""What is known of a stored model without loading its classifier: its card. Imports no scikit-learn."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.dataset.storage import Folder
from generator.errors import RequestError

# Raised when older models can no longer be loaded. 3: their classes have moved to other modules, and cards name the format.
MODEL_VERSION = 3


@dataclass(frozen=True)
class Card:
    """What a model is, what it reads and how well it did.

    Attributes:
        model, features, parameters: the classifier and its settings.
        format: of the classifier's file, a name in `formats.FORMATS`.
        target, labels: the property it names and its classes, in the order of the scores.
        statistics, checkpoints: the trajectories it reads.
        split: the split whose training part it was fitted on; `scores` and importances (but impurity) are from the test
            part.
        training_data: hash of the trajectories and classes that it was fitted on.
        scores: balanced accuracy per layer and per network on the test part, and chance.
        electrode, sampling: how what it was fitted on was measured; models that do not say saw everything.
        design: how the classes share scenarios, in words, where not all do.
    """

    model: str
    features: str
    parameters: dict[str, Any]
    target: str
    labels: list[str]
    statistics: list[str]
    checkpoints: int
    split: str
    training_data: str
    networks: int
    scores: dict[str, float]
    versions: dict[str, str]
    format: str
    model_version: int = MODEL_VERSION
    electrode: str = "full"
    sampling: str = "all"
    design: str = ""


def load_card(location: str | os.PathLike[str] | Folder) -> Card:
    """A model's card, from a path or a filesystem URI. Raises RequestError if this is not a model of a known version."""
    folder, path = Folder.of(location), f"{location}/card.json"
    if not folder.exists("card.json"):
        raise RequestError(f"{location} is not a model (it has no card.json); `rulescope train` makes one")
    try:
        found: Mapping[str, Any] = json.loads(folder.read("card.json"))
        if found["model_version"] != MODEL_VERSION:
            raise RequestError(
                f"{path} has model version {found['model_version']}; this Rulescope reads version {MODEL_VERSION}: "
                "`rulescope train` makes it anew from its dataset"
            )
        return Card(**found)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {error!r}") from error


def importance_file(method: str) -> str:
    """The file, in a model's folder, of the importances of one method."""
    return f"importance_{method}.parquet"
