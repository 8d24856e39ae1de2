"""Classifiers that read whole networks: pooled layers worked out by hand, and sets of layers against loops over them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import skops.io
import torch
from asked import controls, evaluate, train, transfer
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import ExtraTreesClassifier
from synthetic import NAMES, TRACE, grid, noise_with_trace, write

from classifier.examples.trajectories import Examples
from classifier.models import formats
from classifier.models.estimators import HeavyTails, Recipe, Setting, log_scores
from classifier.models.estimators import grid as model_grid
from classifier.models.layers import DeepSets
from classifier.models.pooling import Networks, Pooled
from classifier.models.problem import CURVE, Problem
from classifier.studies.importance import importance
from classifier.studies.predict import predict
from generator.errors import RequestError
from generator.observables import statistics

NAN = np.nan
COLUMNS = [*(f"levels:s{statistic}:{step}" for statistic in range(3) for step in range(2)), "depth:early"]
WHOLE = ("pooled", "layers")
SMALL: dict[str, Any] = {"hidden": 5, "members": 2, "epochs": 4}


def layers(count: int, seed: int = 0, most: int = 4) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(rows, columns + 2) of `count` networks of 1 to `most` layers, rows in any order, with gaps; and (rows,) classes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, count)
    network, place = np.repeat(np.arange(count), sizes), np.concatenate([np.arange(size) for size in sizes])
    table = rng.normal(size=(len(network), len(COLUMNS)))
    y = network % 3
    table[:, 0] += 3 * y
    table[rng.random(len(network)) < 0.2, 2] = NAN
    order = rng.permutation(len(network))
    return np.column_stack([table, network, place]).astype(np.float32)[order], y[order]


def model(kind: str, **options: Any) -> Any:
    if kind == "pooled":
        return Pooled(ExtraTreesClassifier(10, random_state=0))
    return DeepSets(COLUMNS, HeavyTails(), **{**SMALL, **options})


def test_layers_are_pooled_as_by_hand() -> None:
    table = [
        # two features, network, layer: the third network lies between the layers of the first
        [7, 1, 0, 5],
        [4, 4, 9, 0],
        [1, NAN, 0, 2],
        [4, NAN, 0, 3],
        [2, NAN, 4, 1],
        [8, NAN, 4, 0],
    ]
    networks = Networks.of(table)
    assert networks.sizes.tolist() == [3, 2, 1]
    expected = [
        # first, last, mean, standard deviation, of two features each
        [1, NAN, 7, 1, 4, 1, np.sqrt(6), 0],
        [8, NAN, 2, NAN, 5, NAN, 3, NAN],
        [4, 4, 4, 4, 4, 4, 0, 0],
    ]
    np.testing.assert_allclose(networks.pooled(), expected, rtol=1e-6)
    np.testing.assert_array_equal(networks.to_rows(np.array([10, 20, 30])), [10, 30, 10, 10, 20, 20])
    assert networks.one_each(["a", "b", "a", "a", "c", "c"]).tolist() == ["a", "c", "b"]
    with pytest.raises(RequestError, match="the layers of a network are of several classes"):
        networks.one_each(["a", "b", "a", "b", "c", "c"])


def test_importances_of_pooled_features_are_those_of_their_four_columns() -> None:
    X, y = layers(60)
    pooled = model("pooled").fit(X, y)
    of_columns = pooled.classifier_.feature_importances_
    expected = [sum(of_columns[pool * len(COLUMNS) + place] for pool in range(4)) for place in range(len(COLUMNS))]
    np.testing.assert_allclose(pooled.feature_importances_, expected)


def by_hand(sets: DeepSets, X: NDArray[np.float32]) -> list[list[NDArray[np.float64]]]:
    """Of every network, by its number, each member's logits, layer by layer."""
    found = []
    for number in np.unique(X[:, -2]):
        rows = X[X[:, -2] == number]
        rows = rows[np.argsort(rows[:, -1])]
        tamed, logits = sets.tame_.transform(rows[:, :-2]), []
        for w, b in zip(zip(*sets.weights_, strict=True), zip(*sets.offsets_, strict=True), strict=True):
            encoded = []
            for place, row in enumerate(tamed.astype(np.float64)):
                flags = [float(np.isnan(row[column])) for column in range(len(row)) if sets.flagged_[column]]
                stands = [place / (len(rows) - 1) if len(rows) > 1 else 0, place == 0, place == len(rows) - 1]
                x = np.array([*np.nan_to_num(row), *flags, *stands])
                for layer in (0, 1):
                    x = np.maximum(x @ w[layer] + b[layer][0], 0)
                encoded.append(x)
            pooled = np.concatenate([np.mean(encoded, axis=0), np.max(encoded, axis=0)])
            logits.append(np.maximum(pooled @ w[2] + b[2][0], 0) @ w[3] + b[3][0])
        found.append(logits)
    return found


def test_sets_of_layers_are_read_as_written_out() -> None:
    X, y = layers(40)
    sets = model("layers").fit(X, y)
    assert sets.flagged_.tolist() == [False, False, True, False, False, False, False]
    assert [one.shape for one in sets.weights_] == [(2, 7 + 1 + 3, 5), (2, 5, 5), (2, 10, 5), (2, 5, 3)]
    logits = np.array(by_hand(sets, X))  # (networks, members, classes)
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    expected = shares.mean(axis=1)[X[:, -2].astype(int)]
    np.testing.assert_allclose(sets.predict_proba(X), expected, rtol=1e-4, atol=1e-6)


def test_each_member_descends_its_own_loss() -> None:
    """Against the slope of the loss written out: cross-entropy with smoothed labels, of one network at a time."""
    X, y = layers(6)
    sets = model("layers", smoothing=0.3).fit(X, y)
    sets.weights_, sets.offsets_ = ([one.astype(np.float32) for one in each] for each in (sets.weights_, sets.offsets_))
    networks = Networks.of(X)
    truth, of = networks.one_each(y), np.repeat(np.arange(6), networks.sizes)
    weights, offsets = (
        [torch.from_numpy(one).requires_grad_() for one in each] for each in (sets.weights_, sets.offsets_)
    )
    logits = sets._forward(weights, offsets, sets._inputs(networks), torch.from_numpy(of))
    sets._loss(logits, torch.from_numpy(truth)).backward()

    def loss(member: int) -> float:
        lost = []
        for each, true in zip(by_hand(sets, X), truth, strict=True):
            logs = each[member] - np.log(np.exp(each[member]).sum())
            lost.append(-0.7 * logs[true] - 0.3 * logs.mean())
        return float(np.mean(lost))

    for tensors, kept in ((weights, sets.weights_), (offsets, sets.offsets_)):
        for tensor, values in zip(tensors, kept, strict=True):
            assert tensor.grad is not None
            steepest = np.unravel_index(int(tensor.grad.abs().argmax()), values.shape)
            before, h, found = values[steepest], 1e-4, []
            for step in (h, -h):
                values[steepest] = before + step
                found.append(loss(int(steepest[0])))
            values[steepest] = before
            slope = (found[0] - found[1]) / (2 * h)
            assert slope == pytest.approx(float(tensor.grad[steepest]), rel=0.05)


def test_what_is_dropped_is_a_statistic_of_a_network_and_some_of_its_layers_never_all() -> None:
    X, y = layers(400)
    networks = Networks.of(X)
    sets = model("layers", column_dropout=0.25, layer_dropout=0.5).fit(X, y)
    inputs = torch.ones((len(X), len(COLUMNS) + 1 + 3))
    rng = torch.Generator().manual_seed(0)
    left, of = sets._left(inputs, torch.from_numpy(networks.sizes), torch.from_numpy(sets._statistics()), rng)
    count = np.bincount(of.numpy(), minlength=400)
    assert (count >= 1).all()
    assert (count <= networks.sizes).all()
    many = networks.sizes == 4
    assert count[many].mean() == pytest.approx(4 * (0.5 + 0.5**4), abs=0.25)
    # columns of s0, s1, s2; the depth; the flag of s1's first column; relative depth, first, last
    groups = [[0, 1], [2, 3, 7], [4, 5], [6, 8, 9, 10]]
    for network in range(400):
        of_one = left[of == network]
        assert (of_one == of_one[0]).all()
        for group in groups:
            assert len(set(of_one[0, group].tolist())) == 1
    np.testing.assert_allclose(np.unique(left), [0, 4 / 3])
    assert (left[:, ::2] == 0).float().mean() == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("kind", WHOLE)
def test_the_order_of_rows_and_of_networks_says_nothing(kind: str) -> None:
    X, y = layers(60)
    fitted = model(kind).fit(X, y)
    expected, order = fitted.predict_proba(X), np.random.default_rng(1).permutation(len(X))
    other = X.copy()
    other[:, -2] = 100 - X[:, -2]
    other[:, -1] = 3 * X[:, -1] + 7  # in any numbering
    np.testing.assert_allclose(fitted.predict_proba(other[order]), expected[order], rtol=1e-5, atol=1e-7)
    for number in np.unique(X[:, -2]):
        assert len(np.unique(expected[X[:, -2] == number], axis=0)) == 1
    swapped = X.copy()
    swapped[:, -1] = -X[:, -1]
    several = np.isin(X[:, -2], np.flatnonzero(np.bincount(X[:, -2].astype(int)) > 1))
    assert (fitted.predict_proba(swapped)[several] != expected[several]).any()  # where a layer stands is seen
    np.testing.assert_allclose(fitted.predict_proba(swapped)[~several], expected[~several], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", WHOLE)
def test_gaps_everywhere_single_layers_and_another_table(kind: str) -> None:
    X, y = layers(60)
    fitted = model(kind).fit(X, y)
    empty = X.copy()
    empty[:, :-2] = NAN
    assert np.isfinite(fitted.predict_proba(empty)).all()
    alone = np.unique(X[:, -2], return_index=True)[1]
    assert np.isfinite(fitted.predict_proba(X[alone])).all()
    assert np.isfinite(model(kind).fit(X[alone], y[alone]).predict_proba(X)).all()
    assert set(fitted.predict(X)) <= {0, 1, 2}
    with pytest.raises(ValueError, match=r"expected 7 features and the numbers of network and layer"):
        fitted.predict_proba(X[:, 1:])


def test_equal_seeds_give_equal_models_side_by_side_too() -> None:
    X, y = layers(60)
    models = [model("layers", random_state=seed) for seed in (0, 0, 1)]
    state = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda one: one.fit(X, y).predict_proba(X), models))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], clone(models[0]).fit(X, y).predict_proba(X))
    assert (found[0] != found[2]).any()
    assert torch.equal(state, torch.get_rng_state())


# -- what a classifier of networks is given ----------------------------------------------------------------------------
class Spy(ClassifierMixin, BaseEstimator):
    """Keeps what it is given."""

    reads_networks: ClassVar[bool] = True

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        self.given_, self.classes_ = np.asarray(X), np.unique(y)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        self.asked_ = np.asarray(X)
        return np.zeros(len(self.asked_), dtype=int)


def two_layers(count: int, seed: int = 0) -> Examples:
    """Networks of two layers, each high or low, in any order: one rule if both are alike. A layer alone does not know."""
    rng = np.random.default_rng(seed)
    high = rng.integers(2, size=(count, 2))
    values = rng.normal(size=(count, 2, 3, 2)) + 4 * high[:, :, None, None]
    same = np.where(high[:, 0] == high[:, 1], "alike", "apart")
    networks, names = np.repeat(np.arange(count), 2), ["weight_mean", "weight_sq"]
    found = Examples.from_arrays(values.reshape(-1, 3, 2), names, networks=networks, rules=np.repeat(same, 2).tolist())
    return found.rows(rng.permutation(2 * count))


def test_a_classifier_of_networks_is_told_who_belongs_together_and_another_is_not() -> None:
    examples = two_layers(30)
    problem = Problem.of(examples, "rule", ["levels"])
    rows, width = np.arange(10, 50), problem.table("levels", "all").shape[1]
    spy = problem.fit(Recipe(Spy()), [Setting("levels", {})], "all", rows)[0]
    np.testing.assert_array_equal(spy.given_[:, :width], problem.table("levels", "all")[rows])
    ids, place = (examples.identity[name].to_numpy()[rows] for name in ("network_id", "layer_index"))
    np.testing.assert_array_equal(spy.given_[:, None, width] == spy.given_[:, width], ids[:, None] == ids)
    np.testing.assert_array_equal(spy.given_[:, -1], place)
    problem.log_scores(spy, "levels", "all", rows)
    np.testing.assert_array_equal(spy.asked_, spy.given_)

    curves = problem.fit(Recipe(Spy()), [Setting("levels", {})], CURVE, rows)[0]
    assert len(np.unique(curves.given_[:, -2])) == len(rows)  # a curve does not say how many layers there are
    assert (curves.given_[:, -1] == 0).all()

    plain = Spy()
    plain.reads_networks = False  # type: ignore[misc]
    assert plain.fit(problem.table("levels", "all"), problem.codes).given_.shape[1] == width
    log_scores(plain, problem.table("levels", "all"))
    assert plain.asked_.shape[1] == width
    with pytest.raises(ValueError, match="Spy reads networks: say which examples belong to one"):
        log_scores(spy, problem.table("levels", "all"))


@pytest.mark.parametrize("kind", WHOLE)
def test_what_only_a_whole_network_knows_is_found(kind: str) -> None:
    problem = Problem.of(two_layers(400), "rule", ["levels"])
    train_, test = np.arange(500), np.arange(500, 800)
    whole = ~np.isin(problem.networks[test], problem.networks[train_])

    def accuracy(model: str) -> float:
        fitted = problem.fit(Recipe(model), [Setting("levels", model_grid(model)[0])], "all", train_)[0]
        named = problem.log_scores(fitted, "levels", "all", test).argmax(axis=1)
        return float((named == problem.codes[test])[whole].mean())

    assert accuracy(kind) > 0.95
    assert accuracy("forest") < 0.65


# -- through the studies -----------------------------------------------------------------------------------------------
KNOWN = [one for one in statistics() if one.name in (TRACE, "activation_abs_mean", "change_raw")]


def made(location: Path, who: list[dict[str, Any]]) -> Path:
    """As `traced`, of three statistics: networks are few for one that reads them as wholes."""
    places = [NAMES.index(one.name) for one in KNOWN]
    return write(location, who, lambda network, layer: noise_with_trace(network, layer)[:, places], declared=KNOWN)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("few") / "few", grid())


@pytest.mark.parametrize("kind", WHOLE)
def test_it_is_trained_stored_ranked_and_asked_like_the_others(kind: str, few: Path, tmp_path: Path) -> None:
    card = train(few, tmp_path / "model", kind, ["relative"], refits=1)
    assert card.scores["network"] == card.scores["layer"] == 1.0
    for method in ("permutation", "refit"):
        ranking = importance(tmp_path / "model", "statistic", None, method)
        assert TRACE in ranking["members"][0].split(", ")
    new = made(tmp_path / "new", grid(architectures=["mlp9"], seeds=1))
    networks, layers_ = predict(tmp_path / "model", new), predict(tmp_path / "model", new, "layer")
    assert (networks["called"] == networks["labelled"]).all()
    scores = [name for name in layers_ if name.startswith("score_")]
    of_layers = layers_.set_index("network_id").loc[networks["network_id"], scores]
    np.testing.assert_allclose(of_layers[::3], networks[scores], rtol=1e-6)
    if kind == "pooled":
        assert importance(tmp_path / "model", method="impurity")["members"][0] == TRACE
    with pytest.raises(RequestError, match=f"{kind}. has no shap importances; it has: "):
        importance(tmp_path / "model", method="shap")


def test_its_controls_are_at_chance(few: Path) -> None:
    found = controls(few, model="pooled", features="shape", n_splits=1, permutations=1)
    scores = {row["control"]: row["mean"] for row in found["controls"]}
    assert scores["headline"] == scores["early layers only"] == 1.0
    assert scores["identity alone, scenario split"] == scores["identity alone, strict split"] == 0.25


@pytest.mark.parametrize("kind", WHOLE)
def test_it_is_carried_over_to_another_dataset(kind: str, few: Path, tmp_path: Path) -> None:
    elsewhere = [{**one, "task": "words", "curriculum": "words"} for one in grid(architectures=["mlp9"], seeds=1)]
    there = made(tmp_path / "there", elsewhere)
    carried = transfer(few, [there], models=[kind], features=["shape"], inner="scenario")
    assert carried["tests"][str(there)]["models"][kind]["all"]["mean"] == 1.0


def test_an_own_classifier_of_networks_is_evaluated(few: Path) -> None:
    own = Pooled(ExtraTreesClassifier(20, random_state=0))
    found = evaluate(few, [own], ["relative"], ["all"], n_splits=1)
    assert found["models"]["Pooled"]["all"]["network"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda sets: sets.weights_.pop(), "a layer of it is missing"),
        (lambda sets: sets.weights_.__setitem__(0, sets.weights_[0][:, :-1]), "do not fit together"),
        (lambda sets: sets.weights_.__setitem__(1, sets.weights_[1][:1]), "do not fit together"),
        (lambda sets: sets.weights_.__setitem__(2, sets.weights_[2].astype(float)), "do not fit together"),
        (lambda sets: sets.offsets_.__setitem__(2, sets.offsets_[2][..., :-1]), "do not fit together"),
        (lambda sets: sets.offsets_.__setitem__(3, np.full_like(sets.offsets_[3], NAN)), "NaN or infinite"),
        (lambda sets: sets.flagged_.__setitem__(0, True), "do not fit together"),
        (lambda sets: setattr(sets, "flagged_", sets.flagged_[:-1]), "which of its columns have gaps"),
        (lambda sets: setattr(sets, "columns", sets.columns[:-1]), "which of its columns have gaps"),
        (lambda sets: setattr(sets, "classes_", np.arange(2)), "a number for each class"),
        (lambda sets: delattr(sets, "weights_"), "weights_"),
        (lambda sets: setattr(sets, "weights_", 5), "is damaged"),
    ],
)
def test_stored_sets_that_do_not_fit_together_are_refused(change: Callable[[Any], object], says: str) -> None:
    X, y = layers(30)
    sets, skops_ = model("layers").fit(X, y), formats.FORMATS["skops"]
    again = skops_.load(skops.io.dumps(sets), "it")
    np.testing.assert_array_equal(again.predict_proba(X), sets.predict_proba(X))
    change(sets)
    with pytest.raises(RequestError, match=f"it is damaged: .*{says}|{says}"):
        skops_.load(skops.io.dumps(sets), "it")


def test_stored_trees_of_pooled_layers_that_lead_elsewhere_are_refused() -> None:
    X, y = layers(30)
    pooled, skops_ = model("pooled").fit(X, y), formats.FORMATS["skops"]
    again = skops_.load(skops.io.dumps(pooled), "it")
    np.testing.assert_array_equal(again.predict_proba(X), pooled.predict_proba(X))
    tree = pooled.classifier_.estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"]["feature"][0] = 10**6
    tree.__setstate__(state)
    with pytest.raises(RequestError, match=r"it is damaged: .*a column that there is not"):
        skops_.load(skops.io.dumps(pooled), "it")
