"""How a fitted classifier lies on disk, without pickle: its card names the format, which knows the file, writes and reads it.

A new format is a class and a line in `FORMATS`; the first that suits a classifier is taken.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from generator.errors import RequestError

LARGEST = 4 << 30  # bytes of a classifier, unpacked


class Format(ABC):
    """A file format. `suffix` ends the name of a classifier's file in its model's directory."""

    suffix: ClassVar[str]

    @abstractmethod
    def suits(self, classifier: Any) -> bool:
        """Whether it can hold this classifier."""

    @abstractmethod
    def dump(self, classifier: Any) -> bytes:
        """What its file holds."""

    @abstractmethod
    def load(self, content: bytes, where: str) -> Any:
        """Read it back. Raises RequestError, naming the file, if it is damaged, or holds what it must not."""


class XGBoost(Format):
    """XGBoost's own JSON."""

    suffix = ".json"

    def suits(self, classifier: Any) -> bool:
        """XGBoost's classifiers."""
        return type(classifier).__module__.partition(".")[0] == "xgboost"

    def dump(self, classifier: Any) -> bytes:
        """With its classes."""
        with tempfile.TemporaryDirectory() as folder:  # XGBoost writes them into files alone
            path = Path(folder) / f"classifier{self.suffix}"
            classifier.save_model(path)
            return path.read_bytes()

    def load(self, content: bytes, where: str) -> Any:
        """On one thread."""
        from xgboost import XGBClassifier
        from xgboost.core import XGBoostError

        from classifier.models import soundness

        classifier = XGBClassifier(n_jobs=1)
        try:
            soundness.boosted(content)
            classifier.load_model(bytearray(content))
        except XGBoostError as error:
            raise RequestError(f"{where} is damaged: {str(error).splitlines()[-1]}") from error
        except ValueError as error:
            raise RequestError(f"{where} is damaged: {error}") from error
        return classifier


class Skops(Format):
    """skops' zip of scikit-learn estimators, and of ours. It may hold only what skops trusts and `trusted`."""

    suffix = ".skops"
    trusted: ClassVar[list[str]] = [
        "classifier.models.convolution.Convolution",
        "classifier.models.estimators.HeavyTails",
        "classifier.models.estimators.RowSpaceSVC",
        "classifier.models.layers.DeepSets",
        "classifier.models.pooling.Pooled",
        "numpy.dtype",
        "sklearn.tree._tree.Tree",
    ]

    def suits(self, classifier: Any) -> bool:
        """Anything; what it may not hold is refused when read."""
        return True

    def dump(self, classifier: Any) -> bytes:
        """Compressed."""
        import skops.io

        return bytes(skops.io.dumps(classifier, compression=zipfile.ZIP_DEFLATED))

    def load(self, content: bytes, where: str) -> Any:
        """After a look at the types that it names."""
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        from classifier.models import soundness

        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise RequestError(f"{where} is damaged: it is not a skops file")
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                size = sum(each.file_size for each in file.infolist())
            if size > LARGEST:
                raise RequestError(
                    f"{where} is refused: it unpacks to {size / 1e9:.1f} GB, of at most {LARGEST / 1e9:.1f}"
                )
            foreign = [name for name in skops.io.get_untrusted_types(data=content) if name not in self.trusted]
            if foreign:
                raise RequestError(
                    f"{where} is refused: it holds the type {foreign[0]!r}, which is not on the allow-list"
                )
            _, trees = skops.io.loads(_with_trees_unbuilt(content), trusted=self.trusted)
            soundness.unbuilt(trees)
            classifier = skops.io.loads(content, trusted=self.trusted)
        except RequestError:
            raise
        except UntrustedTypesFoundException as error:
            raise RequestError(f"{where} is refused: {error}") from error
        except Exception as error:  # skops builds what the file describes, and a library may raise anything then
            raise RequestError(f"{where} is damaged: {error!r}") from error
        try:
            soundness.fitted(classifier)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise RequestError(f"{where} is damaged: {error}") from error
        return classifier


def _with_trees_unbuilt(content: bytes) -> bytes:
    """A skops file in which a tree is the tuple of its state and its constructor's arguments, beside a list of these tuples.

    scikit-learn's trees copy memory as their state says, while they are built: what crashes then has to be found before. All
    parts are read in the order of the file, so that one number for two of them means the same as there.
    """
    tuples: dict[str, Any] = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode"}
    found: list[dict[str, Any]] = []

    def unbuilt(node: Any) -> Any:
        if isinstance(node, list):
            return [unbuilt(each) for each in node]
        if not isinstance(node, dict):
            return node
        node = {key: unbuilt(value) for key, value in node.items()}
        if node.get("__loader__") != "TreeNode":
            return node
        found.append({**tuples, "__loader__": "CachedNode", "__id__": node["__id__"]})
        return {**tuples, "__id__": node["__id__"], "content": [node["content"], node["__reduce__"]["args"]]}

    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as file, zipfile.ZipFile(made, "w") as changed:
        for each in file.infolist():
            part = file.read(each)
            if each.filename == "schema.json":
                top = unbuilt(json.loads(part))
                trees = {**tuples, "content": found}
                part = json.dumps({**top, **tuples, "content": [top, trees], "__id__": None}).encode()
            changed.writestr(each.filename, part)
    return made.getvalue()


FORMATS: dict[str, Format] = {"xgboost": XGBoost(), "skops": Skops()}


def format_of(classifier: Any) -> str:
    """The name of the first format that can hold a classifier."""
    return next(name for name, each in FORMATS.items() if each.suits(classifier))
