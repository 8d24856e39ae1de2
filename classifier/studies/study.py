"""What a study of a dataset asks: which networks, measured how, are to be named, and on which split. All studies share it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples import splits as splitting
from classifier.examples.features import blocks, suited
from classifier.examples.sampling import ALL, measured
from classifier.examples.scenarios import drawn
from classifier.examples.splits import DOMAIN, INNER, OWN, Fold, Inner, Rows
from classifier.examples.trajectories import Examples
from classifier.models.estimators import FEATURES, Learner, Recipe, Setting, grid
from classifier.models.problem import Problem
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

SEEDS = 2**31  # scikit-learn takes twice as many; some studies use the next ones, too


@dataclass(frozen=True)
class Study:
    """Which networks, measured how, are to be named, and on which split.

    Attributes:
        target: the property to name: rule, pathway, update, …
        rules: only networks with these; None: all.
        electrode: what is measured with. Examples that are given stay as they were measured.
        sampling: the checkpoints that are seen, by a name in `sampling`.
        features: feature sets to choose among, transforms joined by "+". Studies that choose nothing take the first. Of a
            single checkpoint the levels are taken instead.
        split: scenario, strict, network, paper (rows), or a property of the networks to hold out, one value at a time.
        n_splits: random splits; held-out properties have one per value.
        seed: of splits and classifiers.
        inner: what the folds of a training part hold out on which settings are chosen, a name in `splits.INNER`. None: what the
            split does; where networks of a sampled design are among the examples, domains.
    """

    target: str = "rule"
    rules: Sequence[str] | None = None
    electrode: str = "full"
    sampling: str = ALL
    features: Sequence[str] = FEATURES
    split: str = "scenario"
    n_splits: int = 10
    seed: int = 0
    inner: str | None = None

    def check(self, models: Sequence[Learner]) -> None:
        """Raises RequestError for an unknown model, feature set or kind of inner folds, or none, and for splits or a seed that
        cannot be."""
        if not models or not self.features:
            raise RequestError("name at least one model and one feature set")
        if self.n_splits < 1:
            raise RequestError(f"a study needs at least one split, not {self.n_splits}")
        if not 0 <= self.seed < SEEDS:
            raise RequestError(f"seed must be 0 or more and below {SEEDS}, not {self.seed}")
        if self.inner not in (None, *INNER):
            raise unknown("inner folds", self.inner, INNER)
        for model in models:
            grid(model)
        for name in self.features:
            blocks(name)

    def examples(self, dataset: str | os.PathLike[str] | Examples) -> Examples:
        """The examples studied. Raises RequestError as `sampling.measured` does, for a recording, or without two of the rules."""
        if not isinstance(dataset, Examples):
            Dataset(dataset).check_simulated("be learned from")
        found = measured(dataset, self.electrode, self.sampling)
        return found if self.rules is None else found.among(self.rules)

    def suited(self, examples: Examples) -> list[str]:
        """The feature sets, each once, that so many checkpoints allow."""
        return list(dict.fromkeys(suited(name, examples.checkpoints) for name in self.features))

    def setting(self, model: str, examples: Examples) -> Setting:
        """The first feature set with a model's usual hyperparameters: of studies that choose nothing."""
        return Setting(self.suited(examples)[0], grid(model)[0])

    def recipe(self, model: Learner) -> Recipe:
        """A classifier to be trained, with this study's seed."""
        return Recipe(model, self.seed)

    def folds(self, identity: pd.DataFrame, classes: NDArray[np.str_] | None = None) -> list[Fold]:
        """Its splits of these examples. Raises RequestError as `splits.make` does.

        Args:
            classes: (examples,) if they are not the target's own.
        """
        known = splitting.labels(identity, self.target) if classes is None else classes
        return splitting.make(identity, known, self.split, self.n_splits, self.seed, self.target)

    def within(self, identity: pd.DataFrame) -> str:
        """What the inner folds of these examples hold out, as `splits.inner` takes it."""
        asked = self.inner or (DOMAIN if drawn(identity) else OWN)
        return self.split if asked == OWN else asked

    def inner_folds(self, problem: Problem, train: Rows, within: str | None = None) -> Inner:
        """Folds of a training part, to choose settings on. Raises RequestError as `splits.inner` does.

        Args:
            within: what they hold out, if it is not what the study asks for.
        """
        identity = problem.examples.identity
        held_out = within or self.within(identity)
        return splitting.inner(identity, problem.classes, train, held_out, self.seed, problem.target)
