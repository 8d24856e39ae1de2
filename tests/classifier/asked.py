"""The studies, asked with flat options as the command line is: those of `Study` and `Question` are put together here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from classifier.examples.trajectories import Examples
from classifier.models.card import Card
from classifier.power import power as planning
from classifier.power.design import Planned
from classifier.power.simulated import Question
from classifier.report import robustness as robust
from classifier.studies import conditions
from classifier.studies import controls as controlling
from classifier.studies import evaluate as evaluating
from classifier.studies import train as training
from classifier.studies import transfer as carrying
from classifier.studies.conditions import Condition
from classifier.studies.study import Study

Data = str | Path | Examples


def _part(kind: Callable[..., Any], options: dict[str, Any]) -> Any:
    """A dataclass of those options that are its fields; they are taken out."""
    return kind(**{one.name: options.pop(one.name) for one in fields(kind) if one.name in options})  # type: ignore[arg-type]


def evaluate(data: Data, *given: Any, **options: Any) -> dict[str, Any]:
    """`given`: models, features, observables, split, in this order."""
    options |= dict(zip(("models", "features", "observables", "split"), given, strict=False))
    return evaluating.evaluate(data, study=_part(Study, options), **options)


def train(data: Data, out: str | Path, *given: Any, **options: Any) -> Card:
    """`given`: model, features."""
    options |= dict(zip(("model", "features"), given, strict=False))
    return training.train(data, out, study=_part(Study, options), **options)


def controls(data: Data, **options: Any) -> dict[str, Any]:
    """`features` is a single set."""
    if "features" in options:
        options["features"] = [options["features"]]
    return controlling.controls(data, study=_part(Study, options), **options)


def transfer(data: Data, tests: Sequence[Data], **options: Any) -> dict[str, Any]:
    study, ask = _part(Study, options), _part(carrying.Ask, options)
    return carrying.transfer(data, tests, study=study, ask=ask, **options)


def robustness(dataset: Path, **options: Any) -> pd.DataFrame:
    return robust.robustness(dataset, study=_part(Study, options), **options)


def accuracies(dataset: Path, asked: Sequence[Condition], **options: Any) -> pd.DataFrame:
    """`features` is a single set."""
    options = {"n_splits": conditions.N_SPLITS} | options
    if "features" in options:
        options["features"] = [options["features"]]
    return conditions.accuracies(dataset, asked, study=_part(Study, options), **options)


def power(dataset: Path, *given: Any, **options: Any) -> dict[str, Any]:
    """`given`: units, noise, sessions."""
    options |= dict(zip(("units", "noise", "sessions"), given, strict=False))
    planned, question = _part(Planned, options), _part(Question, options)
    return planning.power(dataset, planned, question, **options)
