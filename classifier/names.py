"""Every name that a study takes, with its meaning, read off the registries (`rulescope names`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def _features() -> dict[str, str]:
    from classifier.examples.features import TRANSFORMS

    return {name: _first(one.make) + "; free of scale" * one.scale_free for name, one in TRANSFORMS.items()}


def _relations() -> dict[str, str]:
    from classifier.examples.relations import RELATIONS

    return {name: _first(one) for name, one in RELATIONS.items()}


def _first(function: Any) -> str:
    """The first line of what it says of itself."""
    return str(inspect.getdoc(function)).partition("\n")[0].removesuffix(".")


def _samplings() -> dict[str, str]:
    from classifier.examples.sampling import ALL, KINDS

    return {ALL: "every checkpoint"} | {f"{kind}N": meaning for kind, meaning in KINDS.items()}


def _splits() -> dict[str, str]:
    from classifier.examples.splits import RANDOM

    kinds = {name: f"tests on {kind.news}{kind.caution and f'; {kind.caution}'}" for name, kind in RANDOM.items()}
    return kinds | {"architecture, task, …": "tests on a value that it has not seen, one value after the other"}


def _inner() -> dict[str, str]:
    from classifier.examples.splits import INNER

    return {name: f"folds to choose settings on hold out {meaning}" for name, meaning in INNER.items()}


def _models() -> dict[str, str]:
    from classifier.models.estimators import MODELS

    return {name: model.meaning for name, model in MODELS.items()}


def _importances() -> dict[str, str]:
    from classifier.studies.importance import MEANINGS, METHODS

    return {name: f"{MEANINGS[name]} ({unit})" for name, unit in METHODS.items()}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "features": _features,
    "relations": _relations,
    "samplings": _samplings,
    "splits": _splits,
    "inner": _inner,
    "models": _models,
    "importances": _importances,
}
