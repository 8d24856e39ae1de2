"""What is known of a stored model without loading its classifier: its card. Imports no scikit-learn."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from generator.dataset.folder import Folder
from generator.errors import RequestError

# Raised when older models can no longer be loaded. 4: a seal binds the card to its classifier, and names the files. 5: the
# card says what the inner folds held out.
MODEL_VERSION = 5
LARGEST = 16 << 20  # bytes of a card
MOST = 10**5  # checkpoints


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
        electrode, sampling: how what it was fitted on was measured.
        design: how the classes share scenarios, in words, where not all do.
        inner: what the folds of the training part held out on which the settings were chosen: properties, or scenario, ….
        seal: a hash of all that and of the classifier's file.
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
    electrode: str
    sampling: str
    design: str
    inner: list[str]
    model_version: int = MODEL_VERSION
    seal: str = ""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    def sealed(self, classifier: bytes) -> Card:
        """The same, bound to the content of a classifier's file."""
        found = hashlib.blake2b(json.dumps(asdict(replace(self, seal="")), sort_keys=True).encode(), digest_size=16)
        found.update(classifier)
        return replace(self, seal=found.hexdigest())

    def file(self, suffix: str) -> str:
        """The name of the classifier's file. It changes with what is in it, so that a new model never lies under an old card."""
        return f"classifier-{self.seal[:8]}{suffix}"

    def importances(self, method: str) -> str:
        """The name of the file of the importances of one method."""
        return f"importance_{method}-{self.seal[:8]}.parquet"


def load_card(location: str | os.PathLike[str] | Folder) -> Card:
    """A model's card, from a path or a filesystem URI. Raises RequestError if this is not a model of a known version."""
    folder, path = Folder.of(location), f"{location}/card.json"
    if not folder.exists("card.json"):
        raise RequestError(f"{location} is not a model (it has no card.json); `rulescope train` makes one")
    try:
        if (size := folder.stamp("card.json") or (0, 0))[1] > LARGEST:
            raise RequestError(f"{path} is refused: it has {size[1]} bytes, of at most {LARGEST}")
        content = folder.read("card.json")
        found = json.loads(content)
        if found["model_version"] != MODEL_VERSION:
            raise RequestError(
                f"{path} has model version {str(found['model_version'])[:20]}; this Rulescope reads version {MODEL_VERSION}: "
                "`rulescope train` makes it anew from its dataset"
            )
        card = TypeAdapter(Card).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"{path} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except RequestError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(f"{path} is damaged: {error!r}") from error
    whole = (
        len(set(card.labels)) == len(card.labels) > 1
        and len(set(card.statistics)) == len(card.statistics) > 0
        and 0 < card.checkpoints <= MOST
        and card.scores.keys() >= {"layer", "network", "chance"}
        and all(isfinite(score) for score in card.scores.values())
        and re.fullmatch("[0-9a-f]{32}", card.seal)
    )
    if not whole:
        raise RequestError(f"{path} is damaged: its labels, statistics, checkpoints, scores or seal cannot be")
    return card
