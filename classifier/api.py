"""The classifier's side of `import rulescope as rs`: what the commands do, as functions with keyword-only options.

What they return can be printed (`.table`, a pandas table), drawn (`.plot()`, a matplotlib figure) and kept (`.to_dict()`, JSON).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator

from classifier.examples.sampling import ALL, measured
from classifier.examples.trajectories import Examples, Recorded
from classifier.identify import asked
from classifier.identify import identify as identifying
from classifier.identify import planned as worth
from classifier.models import card as cards
from classifier.models import parallel
from classifier.models.estimators import FEATURES, MODELS, Learner
from classifier.power import power as planning
from classifier.power.design import Planned
from classifier.power.simulated import Question
from classifier.report import curves as learning
from classifier.report import distinguish as distinguish_plots
from classifier.report import identify as answering
from classifier.report import plots, robustness_plots, transfer_plots
from classifier.report import robustness as robust
from classifier.report import sessions as recorded
from classifier.report.tables import basis
from classifier.studies import conditions
from classifier.studies import controls as controlling
from classifier.studies import distinguish as apart
from classifier.studies import evaluate as evaluating
from classifier.studies import importance as ranking
from classifier.studies import predict as naming
from classifier.studies import train as training
from classifier.studies import transfer as carrying
from classifier.studies.study import Study
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

Place = str | os.PathLike[str]
Data = Place | Examples


class Answer(dict[str, Any]):
    """What a study found, as it is written to JSON."""

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary of it."""
        return dict(self)


class Evaluation(Answer):
    """What `evaluate` found."""

    @property
    def table(self) -> pd.DataFrame:
        """A row per model, observable and level: mean, sem, low, high (95 %; none of held-out values), chance."""
        return pd.DataFrame(
            {"model": model, "observable": name, "level": level, **found[level], "chance": self["chance"]}
            for model, scores in self["models"].items()
            for name, found in scores.items()
            for level in ("network", "layer")
        )

    @property
    def confusion(self) -> pd.DataFrame:
        """Networks by true class (rows) and named class, of the selected model, summed over the splits."""
        labels = self["confusion"]["labels"]
        return pd.DataFrame(self["confusion"]["counts"], pd.Index(labels, name="true"), pd.Index(labels, name="named"))

    @property
    def trust(self) -> pd.DataFrame:
        """How far the selected model's probabilities may be believed, a row per level: log_loss_raw and log_loss (nats, before
        and after calibration), calibration_error (debiased), coverage and size of 90 % prediction sets. Empty where fewer than
        five scenarios, or one held-out value, were tested."""
        found = {level: {**one} for level, one in (self["trust"] or {}).items()}
        table = pd.DataFrame.from_dict(found, orient="index").rename_axis("level").reset_index()
        return table.drop(columns="reliability", errors="ignore")

    def plot(self, what: str = "network") -> Figure:
        """Accuracy by observable and model, with 95 % intervals, per network or layer; or reliability.

        Args:
            what: network, layer, or reliability: how often the named class is right, over how probable it was said to be.
        """
        if what not in (known := ("network", "layer", "reliability")):
            raise unknown("picture", what, known)
        rests = basis(self["networks"], len(self["folds"]))
        if what != "reliability":
            return plots.accuracy(self["models"], self["chance"], what, rests)
        if not self["trust"]:
            raise RequestError("too few scenarios, or values, were tested to say how far probabilities may be believed")
        return plots.reliability(self["trust"], self["chance"], f"{self['selected']['model']}; {rests}")


class Controls(Answer):
    """What `controls` found."""

    @property
    def table(self) -> pd.DataFrame:
        """A row per control: split, mean, its errors, chance, networks, and what it means."""
        return pd.DataFrame(self["controls"])

    def plot(self) -> Figure:
        """Accuracy of each control, beside its chance."""
        return plots.controls(self.table)


class Transfer(Answer):
    """What `transfer` found."""

    @property
    def table(self) -> pd.DataFrame:
        """A row per test dataset, model and observable: mean, low, high (95 % over scenarios), networks, scenarios, chance."""
        return pd.DataFrame(
            {"dataset": name, "model": model, "observable": observable, **cell, "chance": self["chance"]}
            for name, test in self["tests"].items()
            for model, cells in test["models"].items()
            for observable, cell in cells.items()
        )

    @property
    def families(self) -> pd.DataFrame:
        """A row per test dataset, family and observable, of the selected model; then of each architecture, if they are few."""
        return pd.DataFrame(
            {"dataset": name, "family": one["family"], "architecture": one.get("architecture", "all")}
            | {"observable": observable, **cell}
            for name, test in self["tests"].items()
            for one in test["families"]
            for observable, cell in one["observables"].items()
        )

    @property
    def domains(self) -> pd.DataFrame:
        """A row per test dataset, domain and observable, of the selected model.

        `shared`: training has the domain, too; `trained`: which of architecture and task training has, in words.
        """
        return pd.DataFrame(
            {"dataset": name, "architecture": one["architecture"], "task": one["task"], "shared": one["shared"]}
            | {"trained": ", ".join(one["trained"]), "observable": observable, **cell}
            for name, test in self["tests"].items()
            for one in test["domains"]
            for observable, cell in one["observables"].items()
        )

    @property
    def named(self) -> pd.DataFrame:
        """A row per tested network: who it is, its true class, and what the selected model names it from each observable."""
        rows = [{"dataset": name, **one} for name, test in self["tests"].items() for one in test["named"]]
        return pd.DataFrame([{**one, **one["named"]} for one in rows]).drop(columns="named")

    def plot(self, what: str = "domains") -> Figure:
        """Accuracy on each domain ("domains"), or over the domains trained on ("scaling", if that was asked for)."""
        if what not in ("domains", "scaling"):
            raise unknown("picture", what, ("domains", "scaling"))
        if what == "scaling" and self["scaling"] is None:
            raise RequestError("there is no scaling curve: ask for it with scaling=True")
        return transfer_plots.domains(self) if what == "domains" else transfer_plots.scaling(self)


class Distinction(Answer):
    """What `distinguish` found."""

    @property
    def table(self) -> pd.DataFrame:
        """A row per class, alike ones together: recall, its family, what it is taken for if it was left out, and that AUROC."""
        families = self["families"]["of"] if self["families"] else {}
        return pd.DataFrame(
            {"class": name, "family": families.get(name), "recall": self["recall"][name]}
            | self["left_out"].get(name, {"taken_for": {}, "auroc": None})
            for name in self._ordered
        )

    @property
    def apart(self) -> pd.DataFrame:
        """How well every two classes are told apart by their own two votes: ½ is chance."""
        found = pd.DataFrame(self["apart"], self["labels"], self["labels"])
        return found.loc[self._ordered, self._ordered]

    @property
    def confusion(self) -> pd.DataFrame:
        """Networks by true class (rows) and named class, alike ones together."""
        found = pd.DataFrame(
            self["confusion"], pd.Index(self["labels"], name="true"), pd.Index(self["labels"], name="named")
        )
        return found.loc[self._ordered, self._ordered]

    @property
    def _ordered(self) -> list[str]:
        return [self["labels"][place] for place in self["order"]]

    def plot(self, what: str = "confusion") -> Figure:
        """The confusion of all classes ("confusion"), or a map of them ("map"): the nearer, the harder to tell apart."""
        if what not in ("confusion", "map"):
            raise unknown("picture", what, ("confusion", "map"))
        return distinguish_plots.pictures(self)[what]


class Identification(Answer):
    """What `identify` found."""

    @property
    def verdict(self) -> dict[str, Any]:
        """{kind: outside, no learning, cannot tell or named; sentences; set}."""
        return dict(self["verdict"])

    @property
    def table(self) -> pd.DataFrame:
        """A row per class, the most probable first: class, probability, in_set (of 90 %)."""
        rows = [(name, self["posterior"][name], name in self["set"]) for name in answering.likeliest(self)]
        return pd.DataFrame(rows, columns=["class", "probability", "in_set"])

    @property
    def statistics(self) -> pd.DataFrame:
        """A row per recording and statistic: for which class, and the evidence in nats; below 0 it speaks against it."""
        return pd.DataFrame(
            [
                (one["name"], answering.likeliest(one)[0], each["statistic"], each["evidence"])
                for one in self["recordings"]
                for each in one["evidence"]
            ],
            columns=["recording", "class", "statistic", "evidence"],
        )

    def plot(self) -> Figure:
        """The posterior with its set, the reliability of such answers, and the evidence of statistics."""
        return answering.picture(self)

    def page(self) -> str:
        """All of it as the text of one HTML page, that needs nothing else."""
        return answering.page(self)


class Trust(Answer):
    """What `trust` found."""

    @property
    def table(self) -> pd.DataFrame:
        """A row for held-out networks and for each test dataset: networks, accuracy, calibration_error, log_loss, …"""
        found = {"held out": self["quality"], **self["tests"]}
        rows = [{"tested on": name, **one} for name, one in found.items()]
        return pd.DataFrame(rows).drop(columns="reliability")


class Power(Answer):
    """What `power` found."""

    @property
    def table(self) -> pd.DataFrame:
        """One row: what was asked, the expected accuracy, its interval and chance."""
        return pd.DataFrame([{**self["asked"], **self["accuracy"], "chance": self["chance"]}])

    def plot(self) -> Figure:
        """The expected confusion of the rules, in per cent."""
        accuracy, conditions = self["accuracy"], self["simulated"]["conditions"]
        title = f"expected accuracy {accuracy['expected']:.2f} ({accuracy['low']:.2f} to {accuracy['high']:.2f})\n"
        title += f"interpolated between {conditions} simulated conditions"
        shares = np.array(self["confusion"]["shares"], dtype=float)
        return plots.confusion(shares, self["confusion"]["labels"], title, counted=False)


@dataclass(frozen=True)
class Table:
    """A table, and how it is drawn."""

    table: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """{rows: a dictionary each}."""
        return {"rows": self.table.to_dict("records")}


@dataclass(frozen=True)
class Importance(Table):
    """What `importance` found: the most important first."""

    title: str
    label: str

    def plot(self) -> Figure:
        """The groups of statistics, by observable where they are statistics."""
        names = self.table["name"]
        return plots.importance(self.table, {name: name.partition("_")[0] for name in names}, self.title, self.label)


@dataclass(frozen=True)
class Robustness(Table):
    """What `robustness` found: a row per condition and training."""

    def plot(self) -> Figure | None:
        """Accuracy over units and noise; None if the electrodes do not suffice for it."""
        return robustness_plots.units(robust.tidy(self.table), self.table.attrs["chance"], robust.rests(self.table))


@dataclass(frozen=True)
class Curves(Table):
    """What `curves` found: a row per architecture, curriculum, rule, curve and checkpoint."""

    def plot(self) -> Figure:
        """The curves over updates by rule, a panel per architecture, curriculum and curve."""
        return learning.draw(self.table)

    def to_dict(self) -> dict[str, Any]:
        """{networks and diverged: by rule, unfinished: "249 of 300 networks" or empty, rows: a dictionary each}."""
        return {str(key): value for key, value in self.table.attrs.items()} | super().to_dict()


@dataclass(frozen=True)
class Sessions(Table):
    """What `curves` found of a recording: a row per area, statistic and session."""

    def plot(self) -> Figure:
        """The statistics over sessions, a panel each."""
        return recorded.draw(self.table)


def load(dataset: Place, *, electrode: str | None = None, sampling: str = ALL) -> Examples:
    """The trajectories of all complete networks of a dataset, an example per layer.

    Args:
        electrode: what they are measured with, one of the dataset's; by default full, or what a recording was measured with.
        sampling: the checkpoints that are seen: all, sessions8, every3, first5, last5, only7, jittered8.

    Raises:
        RequestError: no such dataset or electrode, no complete network, or more sessions than checkpoints.

    Example:
        >>> examples = rs.load("datasets/demo", sampling="sessions3")
        >>> examples.checkpoints
        3
    """
    return measured(dataset, electrode, sampling)


def curves(dataset: Place) -> Curves | Sessions:
    """Training loss, probe loss and probe accuracy over updates by rule, also of a dataset that is still growing.

    Of a recording, of which nobody knows a loss, its statistics over sessions.

    Args:
        dataset: only its complete cohorts are read; networks that diverged count as far as they got.

    Returns:
        `.table`: a row per architecture, curriculum, rule, curve and checkpoint, with step (updates made), networks, and the
        quartiles over them: low, median, high. Losses are in the objective's unit (nats, of cross-entropy), accuracy is a share.
        Of a recording: a row per area, statistic and session, with time and value.

    Raises:
        RequestError: no such dataset, or no complete cohort.

    Example:
        >>> picture = rs.curves("datasets/demo").plot()
    """
    source = Dataset(dataset)
    return Curves(learning.curves(source)) if source.recording is None else Sessions(recorded.sessions(source))


def evaluate(
    data: Data,
    *,
    models: Learner | Sequence[Learner] = tuple(MODELS),
    features: Sequence[str] = FEATURES,
    observables: Sequence[str] = ("all",),
    split: str = "scenario",
    target: str = "rule",
    rules: Sequence[str] | None = None,
    n_splits: int = 10,
    permute_labels: int = 0,
    inner: str | None = None,
    seed: int = 0,
    cluster: str | None = None,
) -> Evaluation:
    """How well each model names the rule of networks it has not seen; nothing is chosen on a test part.

    Args:
        data: a dataset, or examples.
        models: names, or classifiers with scikit-learn's fit and predict (`rs.names("models")`). One alone need be no list;
            so also below.
        features: feature sets to choose among, transforms joined by "+" (`rs.names("features")`).
        observables: those to learn from, each alone; "all" together. The loss and accuracy curves alone are always added.
        split: scenario, strict, network, paper, or a property of the networks to hold out, one value at a time.
        target: the property to name: rule, pathway, update, …
        rules: only networks with these.
        permute_labels: how often to repeat with permuted labels.
        inner: what the folds hold out on which settings are chosen: split (what `split` does), domain (architecture and task),
            architecture, task or scenario. None: split; for networks drawn at random domain.

    Raises:
        RequestError: an unknown name, or too few networks for the split.

    Example:
        >>> found = rs.evaluate("datasets/demo", models=["forest"], features=["levels"], n_splits=2)
        >>> found.confusion.shape
        (2, 2)
    """
    only = None if rules is None else _several(rules)
    study = Study(target, only, features=_several(features), split=split, n_splits=n_splits, seed=seed, inner=inner)
    with parallel.on(cluster):
        found = evaluating.evaluate(_source(data), _several(models), study, _several(observables), permute_labels)
    return Evaluation(found)


def train(
    data: Data,
    out: Place,
    *,
    model: Learner = "forest",
    features: Sequence[str] = FEATURES,
    observables: Sequence[str] = ("all",),
    split: str = "scenario",
    target: str = "rule",
    inner: str | None = None,
    seed: int = 0,
    refits: int = training.REFITS,
) -> cards.Card:
    """Train a model on the training part of one split, score and rank it on the test part, and store it in the folder `out`.

    Args:
        inner: as `evaluate` takes it.

    Returns:
        Its card. Raises RequestError as `evaluate` does, or if `out` cannot be written.

    Example:
        >>> card = rs.train("datasets/demo", "models/forest", features=["levels"], refits=0)
        >>> sorted(card.labels)
        ['adam', 'sgdm']
    """
    study = Study(target, features=_several(features), split=split, seed=seed, inner=inner)
    return training.train(_examples(data), out, model, study, _several(observables), refits)


def predict(
    model: Place,
    data: Data | Recorded,
    *,
    level: str = "network",
    electrode: str | None = None,
    observables: Sequence[str] = ("all",),
) -> pd.DataFrame:
    """The scores that a stored model gives to each class, for every network or layer: scores, no calibrated probabilities.

    Args:
        model: the folder of a stored model, or the name of one that comes with Rulescope.
        data: a dataset, examples or an `rs.Recording`, with the statistics and as many checkpoints as the model reads; rules need
            not be known.
        level: network (the layers' votes) or layer.
        electrode: what a dataset is measured with, if not with what the model was fitted on.
        observables: those that were measured: activity, say.

    Raises:
        RequestError: no such model, or statistics or checkpoints are missing.

    Example:
        >>> named = rs.predict("models/forest", "datasets/demo")
        >>> named.columns[0]
        'network_id'
    """
    given = Examples.from_recording(data) if isinstance(data, Recorded) else _source(data)
    return naming.predict(model, given, level, electrode, observables=_several(observables))


def importance(model: Place, *, by: str = "statistic", method: str = "permutation", top: int | None = 10) -> Importance:
    """What a stored model relies on, or cannot do without, the most important first.

    Args:
        by: statistic (in clusters), observable, function, depth, checkpoint, or relation (of a layer to its network).
        method: permutation, refit, impurity (forest, pooled) or shap (XGBoost).
        top: how many; None for all.

    Raises:
        RequestError: an unknown name, or importances that this model lacks.

    Example:
        >>> table = rs.importance("models/forest", by="observable").table
        >>> sorted(table["name"])
        ['activation', 'change', 'weight']
    """
    found = ranking.importance(model, by, top, method)
    card = cards.load_card(model)
    title = f"{method} importance of {card.model}, trained on {card.networks:,} networks, by {by}"
    return Importance(found, title, f"{ranking.MEANINGS[method]} ({ranking.METHODS[method]})")


def controls(
    data: Data,
    *,
    model: str = "forest",
    target: str = "rule",
    n_splits: int = 10,
    inner: str | None = None,
    seed: int = 0,
    cluster: str | None = None,
) -> Controls:
    """What else could have told the rules apart: curves and identity alone, matched performance, networks before learning, …

    Args:
        inner: as `evaluate` takes it; of the curves alone, for nothing else is chosen.

    Example:
        >>> table = rs.controls("datasets/demo", n_splits=2).table
        >>> table["control"].iloc[0]
        'headline'
    """
    study = Study(target, n_splits=n_splits, seed=seed, inner=inner)
    with parallel.on(cluster):
        return Controls(controlling.controls(_source(data), model, study))


def transfer(
    train: Data,
    tests: Data | Sequence[Data],
    *,
    models: Learner | Sequence[Learner] = "layers",
    features: Sequence[str] = FEATURES,
    observables: Sequence[str] = ("all",),
    target: str = "rule",
    rules: Sequence[str] | None = None,
    inner: str = "domain",
    allow_shared: bool = False,
    nulls: bool = False,
    scaling: bool = False,
    train_on: Mapping[str, Sequence[str]] | None = None,
    electrode: str = "full",
    sampling: str = ALL,
    seed: int = 0,
    cluster: str | None = None,
) -> Transfer:
    """How well models trained on one dataset name the rule in others, on domains (architecture × task) they have not seen.

    Args:
        train: a dataset, or examples; all of it is trained on, with as many networks of each class.
        tests: datasets that share no domain (architecture × task) with it.
        observables: those to learn from, each alone; "all" together. The loss and accuracy curves alone are always added.
        inner: what the folds hold out on which settings are chosen: domain (architecture and task), architecture, task or
            scenario.
        allow_shared: test on domains that are in training, too.
        nulls: also score networks before learning (at the first checkpoint that is there), and labels permuted in training.
        scaling: also train on fewer tasks, and fit a law to the error.
        train_on: values of properties that training networks must have: {"family": ["mlp"]}.

    Returns:
        `.table`, `.families`, `.domains`, `.named` (network by network), `.plot()`, `.plot("scaling")`. Intervals are over
        scenarios tested. They do not cover the draw of the training networks, nor other architectures and tasks.

    Raises:
        RequestError: an unknown name, or a test dataset that shares networks or domains, or lacks what training has.

    Example:
        >>> examples = rs.load("datasets/demo")
        >>> deep = (examples.identity["architecture"] == "mlp3").to_numpy()
        >>> found = rs.transfer(examples.rows(~deep), examples.rows(deep), models="forest", features=["levels"])
        >>> found.domains["architecture"].unique().tolist()
        ['mlp3']
    """
    study = Study(
        target,
        None if rules is None else _several(rules),
        electrode,
        sampling,
        _several(features),
        seed=seed,
        inner=inner,
    )
    ask = carrying.Ask(_several(observables), allow_shared, nulls, scaling, train_on or {})
    tested = [tests] if isinstance(tests, Examples | str | os.PathLike) else list(tests)
    with parallel.on(cluster):
        sources = [_source(one) for one in tested]
        return Transfer(carrying.transfer(_source(train), sources, _several(models), study, ask))


def distinguish(
    dataset: Data,
    *,
    model: Learner = "pooled",
    features: Sequence[str] = FEATURES,
    observables: Sequence[str] = ("all", "activity"),
    target: str = "rule",
    rules: Sequence[str] | None = None,
    families: Mapping[str, str] | None = None,
    test: Data | None = None,
    left_out: bool = True,
    split: str = "scenario",
    n_splits: int = 3,
    electrode: str = "full",
    sampling: str = ALL,
    seed: int = 0,
    cluster: str | None = None,
) -> Distinction:
    """Which of many rules can be told apart, by what, and what a rule is taken for that was never seen.

    Args:
        model: with its usual settings; none is chosen.
        observables: what is named from, each alone; all but accuracies rests on the first.
        families: of each pathway and update, by name, as `rulescope rules --json` prints them: families of rules are named, too.
        test: another dataset, which shares no domain with the first: it is tested on in place of splits.
        left_out: whether each class is left out of training once; a training for each.

    Returns:
        `.table`, `.apart`, `.confusion`, `.plot()`, `.plot("map")`; `["sets"]` are classes of which no pair is told apart.

    Raises:
        RequestError: an unknown name, or a class without a family.

    Example:
        >>> found = rs.distinguish("datasets/demo", model="forest", features=["levels"], observables=["all"])
        >>> found.table.columns.tolist()
        ['class', 'family', 'recall', 'taken_for', 'auroc']
    """
    study = Study(
        target,
        None if rules is None else _several(rules),
        electrode,
        sampling,
        _several(features),
        split,
        n_splits,
        seed,
    )
    with parallel.on(cluster):
        tested = None if test is None else _source(test)
        return Distinction(
            apart.distinguish(_source(dataset), model, study, families, _several(observables), tested, left_out)
        )


def identify(
    recordings: Place | Recorded | Sequence[Place | Recorded],
    reference: Place,
    *,
    target: str = "rule",
    prior: Mapping[str, float] | None = None,
    times: Sequence[float] | None = None,
    features: str | None = None,
    more: bool = True,
    seed: int = 0,
) -> Identification:
    """Which rule a recording points to, how sure that is, whether it can be told at all, and what it rests on.

    Args:
        recordings: a recording (`rs.Recording`, or a dataset of one); several are of animals that learn alike.
        reference: a dataset of simulated networks, which are measured as the recording was; "atlas" is also looked for in
            datasets/.
        prior: how likely each class is beforehand; what is not named is impossible. None: all are alike.
        times: when the sessions were, in any unit, if the recording does not say.
        features: transforms to read, joined by "+"; None: such as do not depend on units of measurement.
        more: whether to say what more units or sessions would bring; a training for each.

    Returns:
        `.verdict` (the answer in words), `.table` (by class), `.statistics` (what it rests on), `.plot()`, `.page()` (HTML).

    Raises:
        RequestError: no recording, a reference that has too few scenarios or none of the statistics, or an unknown name.

    Example:
        >>> found = rs.identify("datasets/monkey", "atlas", prior={"sgdm": 0.5, "fa": 0.5})  # doctest: +SKIP
        >>> found.verdict["kind"]  # doctest: +SKIP
        'cannot tell'
    """
    given = _several(recordings)
    asked.check(given, target, prior, times)
    return Identification(
        identifying.identify(given, asked.located(reference), target, prior, times, features, more, seed)
    )


def trust(
    reference: Place,
    *,
    units: int | None = None,
    noise: float = 0.0,
    sessions: int | None = None,
    areas: int = 1,
    observables: Sequence[str] = ("activity",),
    tests: Place | Sequence[Place] = (),
    target: str = "rule",
    seed: int = 0,
) -> Trust:
    """How far answers of `identify` may be trusted for a planned recording, on networks that were not trained on.

    Args:
        reference: a dataset of simulated networks, as `identify` takes it.
        units: in each area; None for all. `noise`: of stimulus means, over the standard deviation of responses.
        sessions: from the start of learning; None for all checkpoints.
        tests: datasets of other networks to ask of, too.

    Returns:
        `.table`: accuracy, calibration error, log loss, coverage and size of sets, by what was tested.

    Raises:
        RequestError: an unknown name, or more of something than the reference has.

    Example:
        >>> found = rs.trust("datasets/atlas", units=100, noise=0.25, sessions=8)  # doctest: +SKIP
        >>> found.table["coverage"]  # doctest: +SKIP
    """
    asked.check([], target, None, None)
    found = worth.planned(
        asked.located(reference),
        units,
        noise,
        sessions,
        areas,
        _several(observables),
        _several(tests),
        target,
        seed=seed,
    )
    return Trust(found)


def robustness(
    dataset: Place, *, model: str = "forest", n_splits: int = 5, seed: int = 0, cluster: str | None = None
) -> Robustness:
    """Accuracy over units × noise × sessions for each observable; also written into `<dataset>/report/robustness`.

    Example:
        >>> table = rs.robustness("datasets/demo", n_splits=2).table
    """
    with parallel.on(cluster):
        study = Study(features=conditions.FEATURES, n_splits=n_splits, seed=seed)
        return Robustness(robust.robustness(dataset, model, study, quiet=True))


def power(
    dataset: Place = "atlas",
    *,
    units: int | None = None,
    noise: float = 0.0,
    noise_mode: str | None = None,
    sessions: int | None = None,
    observable: str | None = None,
    layers: int | None = None,
    animals: int = 1,
    rules: Sequence[str] | None = None,
    target_accuracy: float | None = None,
    model: str | None = None,
    seed: int = 0,
    cluster: str | None = None,
) -> Power:
    """How well a planned recording would name the rule, and what would reach a target accuracy.

    Args:
        dataset: with several electrodes; "atlas" is a table that comes with Rulescope, and answers at once: of activity in any
            one layer, under four rules.
        units: recorded in each layer; None for all.
        noise: as the dataset's electrodes count it; `rs.noise_of` says it from the reliability of halves, or from variances.
        sessions: checkpoints recorded; None for all.
        observable: "all" by default. `layers`: any so many of each network; None for all. `model`: forest by default.
        animals: that learn alike, 1, 2, 4 or 8, whose evidence is added; of a dataset always one.
        rules: to tell apart, or pathways, such as bp.

    Raises:
        RequestError: a recording outside what was simulated, or a name that the dataset lacks.

    Example:
        >>> found = rs.power("datasets/demo", units=8, sessions=3, target_accuracy=0.9)
        >>> 0 <= found["accuracy"]["low"] <= found["accuracy"]["high"] <= 1
        True
    """
    only = None if rules is None else _several(rules)
    question = Question(noise_mode, observable, layers, only, model, seed)
    with parallel.on(cluster):
        return Power(planning.power(dataset, Planned(units, noise, sessions), question, target_accuracy, animals))


def report(
    dataset: Place,
    *,
    permute_labels: int = 20,
    inner: str | None = None,
    seed: int = 0,
    cluster: str | None = None,
) -> str:
    """Evaluate, train and draw everything a reader wants to know, into `<dataset>/report`; the folder's path.

    Example:
        >>> where = rs.report("datasets/demo")  # doctest: +SKIP
    """
    from classifier.report.report import report as write

    with parallel.on(cluster):
        return write(dataset, permute_labels, seed, quiet=True, inner=inner)


def _several(given: Any) -> Sequence[Any]:
    """One thing alone is a list of one."""
    alone = isinstance(given, str | BaseEstimator) or not isinstance(
        given, Iterable
    )  # an ensemble can be gone through, too
    return [given] if alone else list(given)


def _source(data: Data) -> str | Examples:
    """What studies take: of a dataset its place, so that examples which exceed the memory may stay on a cluster."""
    return data if isinstance(data, Examples) else os.fspath(data)


def _examples(data: Data) -> Examples:
    return data if isinstance(data, Examples) else load(data)
