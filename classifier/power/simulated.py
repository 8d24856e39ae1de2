"""The simulated accuracies that answer a question: of all conditions that bear on it, measured once and kept (`store`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow.compute as pc

from classifier.examples.sampling import ALL
from classifier.models.estimators import grid
from classifier.power.design import Design
from classifier.studies.conditions import FEATURES, N_SPLITS, Condition, accuracies
from classifier.studies.store import Store
from classifier.studies.study import Study
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import header
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

MODEL = "forest"


@dataclass(frozen=True)
class Question:
    """What the classifiers of all conditions have in common.

    Attributes:
        noise_mode: of the electrodes, beside those without noise: relative, absolute or poisson. None: relative, where the
            dataset has it or noise is asked for.
        observable: "all" or one observable.
        layers: how many layers of a network are recorded, any of them; None for all.
        rules: those to tell apart; None for all. Names of pathways stand for their rules.
        target: what is named: the rule, or the pathway if `rules` names pathways (`told_apart`).
    """

    noise_mode: str | None = None
    observable: str | None = None
    layers: int | None = None
    rules: Sequence[str] | None = None
    model: str | None = None
    seed: int = 0
    target: str = "rule"

    def told_apart(self, dataset: Dataset) -> Question:
        """With the rules of the pathways that are named, if one of the names is a pathway's alone: as in `bp` or `fa`."""
        if self.rules is None:
            return self
        networks = dataset.read_kind("networks", ["rule", "pathway"])
        of = set(zip(networks["rule"].to_pylist(), networks["pathway"].to_pylist(), strict=True))
        rules, pathways = {rule for rule, _ in of}, {pathway for _, pathway in of}
        named = set(self.rules)
        if named <= rules or not named <= pathways or len(named) < 2:
            return replace(self, rules=tuple(sorted(named)))
        return replace(self, rules=tuple(sorted(rule for rule, pathway in of if pathway in named)), target="pathway")

    def check(self, dataset: Dataset) -> None:
        """Raises RequestError for a name that the dataset, or Rulescope, does not know."""
        grid(self.model or MODEL)
        cohorts = dataset.complete_in_order()
        statistics = header(dataset.schema("observables", cohorts[0]), str(dataset))["statistics"]
        observables = ["all", *dict.fromkeys(parts["observable"] for parts in statistics.values())]
        if self.observable is not None and self.observable not in observables:
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


def ask(dataset: Dataset, question: Question = Question(), noise: float = 0.0) -> tuple[Question, Design]:
    """A question that the dataset can answer, its noise mode chosen, and the conditions that bear on it.

    Args:
        noise: of the planned recording.

    Raises:
        RequestError: as `power` does.
    """
    dataset.cohorts()  # says so if this is no dataset
    dataset.check_simulated("be learned from")
    mode = question.noise_mode
    if mode is None:
        names = (dataset.settings() or {}).get("electrodes", ())
        has_relative = any(Electrode.named(name).noise_mode == "relative" for name in names)
        mode = "relative" if noise or has_relative else "none"
    observable, model = question.observable or ALL, question.model or MODEL
    question = replace(question.told_apart(dataset), noise_mode=mode, observable=observable, model=model)
    question.check(dataset)
    return question, Design.of(dataset, mode)


def simulated(dataset: Dataset, question: Question, design: Design) -> pd.DataFrame:
    """The accuracies of all conditions of the design: those that any study measured before, and those that are measured now."""
    model, observable = question.model or MODEL, question.observable or ALL
    study = Study(question.target, question.rules, features=FEATURES, n_splits=N_SPLITS, seed=question.seed)
    conditions = [
        Condition(electrode, ALL if count == design.sessions[-1] else f"sessions{count}", observable, question.layers)
        for electrode in design.electrodes
        for count in design.sessions
    ]
    return accuracies(dataset, conditions, model, study, store=Store(dataset, model, study))
