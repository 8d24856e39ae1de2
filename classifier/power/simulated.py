"""The simulated accuracies that answer a question: of all conditions that bear on it, computed once and kept.

They lie in `<dataset>/report/power/`, in a file named by all that they depend on.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import pandas as pd
import pyarrow.compute as pc
from rich.console import Console

from classifier.models.estimators import FEATURES, grid
from classifier.power.design import Design
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import DatasetError, header
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

N_SPLITS = 5
CACHE_VERSION = 2


@dataclass(frozen=True)
class Question:
    """What the classifiers of all conditions have in common.

    Attributes:
        noise_mode: of the electrodes, beside those without noise.
        observable: "all" or one observable.
        layers: how many layers of a network are recorded; None for all.
        rules: those to tell apart; None for all.
    """

    noise_mode: str = "relative"
    observable: str = "all"
    layers: int | None = None
    rules: tuple[str, ...] | None = None
    model: str = "forest"
    seed: int = 0

    def check(self, dataset: Dataset) -> None:
        """Raises RequestError for a name that the dataset, or Rulescope, does not know."""
        grid(self.model)
        cohorts = dataset.complete_in_order()
        statistics = header(dataset.schema("observables", cohorts[0]), str(dataset))["statistics"]
        observables = ["all", *dict.fromkeys(parts["observable"] for parts in statistics.values())]
        if self.observable not in observables:
            raise unknown("observable", self.observable, observables, str(dataset))
        networks = dataset.read_kind("networks", ["rule", "layers"])
        known = pc.unique(networks["rule"]).to_pylist()
        for rule in self.rules or ():
            if rule not in known:
                raise unknown("rule", rule, known, str(dataset))
        if self.rules is not None and len(self.rules) < 2:
            raise RequestError(f"name at least two rules to tell apart; known: {', '.join(sorted(known))}")
        most = pc.max(networks["layers"]).as_py()
        if self.layers is not None and not 1 <= self.layers <= most:
            raise RequestError(
                f"layers must be 1 to {most}, as many as the networks of {dataset} have, not {self.layers}"
            )


def ask(
    dataset: Dataset,
    noise: float = 0.0,
    noise_mode: str | None = None,
    observable: str = "all",
    layers: int | None = None,
    rules: Sequence[str] | None = None,
    model: str = "forest",
    seed: int = 0,
) -> tuple[Question, Design]:
    """A question that the dataset can answer, and the conditions that bear on it. Raises RequestError as `power` does."""
    dataset.cohorts()  # says so if this is no dataset
    if noise_mode is None:
        names = (dataset.settings() or {}).get("electrodes", ())
        has_relative = any(Electrode.named(name).noise_mode == "relative" for name in names)
        noise_mode = "relative" if noise or has_relative else "none"
    chosen = None if rules is None else tuple(sorted(set(rules)))
    question = Question(noise_mode, observable, layers, chosen, model, seed)
    question.check(dataset)
    return question, Design.of(dataset, noise_mode)


def simulated(location: str | os.PathLike[str], question: Question, design: Design) -> pd.DataFrame:
    """The accuracies of all conditions of the design, from the dataset's cache or, the first time, from classifiers.

    A dataset that cannot be written to is left without a cache.
    """
    dataset = Dataset(location)
    depends = {
        "version": [CACHE_VERSION, FEATURES[0], N_SPLITS],
        "question": asdict(question),
        "electrodes": design.electrodes,
        "sessions": design.sessions,
        "cohorts": sorted(dataset.complete()),
    }
    key = hashlib.blake2b(json.dumps(depends, sort_keys=True).encode(), digest_size=8).hexdigest()
    name = f"report/power/{key}.parquet"
    if dataset.exists(name):
        with suppress(OSError, ValueError):  # a damaged file is written anew; pyarrow's ArrowInvalid is a ValueError
            return pd.read_parquet(io.BytesIO(dataset.read(name)))
    table = _fit(location, question, design)
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    try:
        dataset.publish(name, content.getvalue())
    except DatasetError as error:
        Console(stderr=True).print(f"not kept for the next question: {error}", highlight=False, soft_wrap=True)
    return table


def _fit(location: str | os.PathLike[str], question: Question, design: Design) -> pd.DataFrame:
    from classifier.studies.conditions import Condition, accuracies

    conditions = [
        Condition(electrode, f"sessions{count}", question.observable, question.layers)
        for electrode in design.electrodes
        for count in design.sessions
    ]
    return accuracies(
        location,
        conditions,
        rules=question.rules,
        model=question.model,
        features=FEATURES[0],
        n_splits=N_SPLITS,
        seed=question.seed,
    )
