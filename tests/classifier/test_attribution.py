"""What trees say of their own features: Shapley values sum to the margin, impurity to 1, and both find the trace."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from synthetic import CHECKPOINTS, TRACE

from classifier.examples.trajectories import load as load_examples
from classifier.models.estimators import Recipe
from classifier.models.stored import Model, load, save
from classifier.studies import attribution
from classifier.studies.importance import METHODS, importance

GROUPINGS = ("statistic", "observable", "function", "checkpoint")


@pytest.mark.parametrize("classes", [2, 4])
def test_contributions_sum_to_the_margin(classes: int) -> None:
    rng = np.random.default_rng(0)
    table, y = rng.normal(size=(160, 12)).astype(np.float32), np.arange(160) % classes
    table[:, 3] += y
    table[rng.random(160) < 0.2, 5] = np.nan
    classifier = Recipe("xgboost").build({"max_depth": 4}, []).fit(table, y)
    found = attribution.contributions(classifier, table)
    margins = 1 if classes == 2 else classes
    assert found.shape == (160, margins, 12 + 1)
    expected = classifier.predict(table, output_margin=True).reshape(160, margins)
    np.testing.assert_allclose(found.sum(axis=2), expected, atol=1e-4)
    assert np.abs(attribution.shap(classifier, table)).mean(axis=(0, 1)).argmax() == 3


def answer(node: dict[str, Any], row: NDArray[np.float32], known: set[int]) -> float:
    """What a tree answers when only some features are known: the mean, by cover, over what the others may be."""
    if "leaf" in node:
        return node["leaf"]
    feature, children = int(node["split"].removeprefix("f")), {child["nodeid"]: child for child in node["children"]}
    if feature not in known:
        return sum(one["cover"] * answer(one, row, known) for one in children.values()) / node["cover"]
    side = (
        "missing" if np.isnan(row[feature]) else "yes" if row[feature] < np.float32(node["split_condition"]) else "no"
    )
    return answer(children[node[side]], row, known)


def test_shapley_values_are_those_of_their_definition() -> None:
    """Shapley's weighted mean over all subsets of the other features, of what a feature adds to the trees' answer."""
    rng = np.random.default_rng(1)
    table = rng.normal(size=(200, 3)).astype(np.float32)
    y = ((table[:, 0] > 0) ^ (table[:, 1] > 0.3)).astype(int)
    table[::9, 2] = np.nan
    classifier = (
        Recipe("xgboost").build({"max_depth": 3}, []).set_params(n_estimators=3, colsample_bylevel=1).fit(table, y)
    )
    trees = [json.loads(tree) for tree in classifier.get_booster().get_dump(with_stats=True, dump_format="json")]
    found = attribution.shap(classifier, table[:10])[:, 0]
    for row, values in zip(table[:10], found, strict=True):
        for feature in range(3):
            others = {0, 1, 2} - {feature}
            expected = 0.0
            for known in (set(some) for size in range(3) for some in itertools.combinations(others, size)):
                gain = sum(answer(tree, row, known | {feature}) - answer(tree, row, known) for tree in trees)
                expected += gain * (1 / 3 if len(known) in (0, 2) else 1 / 6)  # |S|! (3 − |S| − 1)! / 3!
            assert values[feature] == pytest.approx(expected, abs=1e-4)


def gini(counts: np.ndarray) -> float:
    """Gini impurity of class counts."""
    return float(1 - ((counts / counts.sum()) ** 2).sum())


def decrease(forest: Any) -> np.ndarray:
    """(features,) the mean over trees of each tree's normalised decrease of Gini impurity, node by node."""
    shares = []
    for tree in (one.tree_ for one in forest.estimators_):
        total = np.zeros(tree.n_features)
        counts = tree.value[:, 0] * tree.weighted_n_node_samples[:, None]
        for node in np.flatnonzero(tree.children_left >= 0):
            children = tree.children_left[node], tree.children_right[node]
            total[tree.feature[node]] += sum(
                sign * counts[one].sum() * gini(counts[one])
                for sign, one in ((1, node), *((-1, child) for child in children))
            )
        shares.append(total / total.sum())
    return np.mean(shares, axis=0)


def test_impurity_is_scikit_learns_own_and_that_of_its_nodes(trained: Path) -> None:
    forest = load(trained).classifier
    np.testing.assert_array_equal(attribution.impurity(forest, np.zeros(0)), forest.feature_importances_)
    np.testing.assert_allclose(forest.feature_importances_, decrease(forest), atol=1e-9)


def test_impurity_sums_to_1_and_a_groups_is_the_sum_over_its_features(trained: Path, traced: Path) -> None:
    model, examples = load(trained), load_examples(traced)
    model.table(examples)
    names, shares = model.transformer.get_feature_names_out(), model.classifier.feature_importances_
    found = attribution.measure(model, examples, [[name] for name in examples.statistics])["impurity"]
    for by in GROUPINGS:
        assert importance(trained, by, None, "impurity")["importance"].sum() == pytest.approx(1)
    expected = {
        ("statistic", TRACE): [f":{TRACE}:" in name for name in names],
        ("observable", "change"): [":change_" in name for name in names],
        ("checkpoint", "3"): [name.endswith(":3") for name in names],
        ("function", attribution.DEPTH): [name.startswith("depth:") for name in names],
    }
    by_group = found.set_index(["by", "name"])["importance"]
    for group, inside in expected.items():
        assert by_group[group] == pytest.approx(shares[inside].sum())


@pytest.mark.parametrize(("model", "method"), [("trained", "impurity"), ("boosted", "shap")])
def test_the_trace_ranks_first(model: str, method: str, request: pytest.FixtureRequest) -> None:
    location = request.getfixturevalue(model)
    by_statistic = importance(location, "statistic", None, method)
    assert by_statistic["members"][0] == TRACE
    assert by_statistic["importance"][0] > 2 * by_statistic["importance"][1]
    assert importance(location, "observable", None, method)["name"][0] == "weight"
    assert importance(location, "function", None, method)["name"][0] == "abs"
    assert len(importance(location, "checkpoint", None, method)) == CHECKPOINTS + 1  # and the depth
    assert not by_statistic.isna().any(axis=None)


def test_a_groups_shap_is_that_of_its_features_together(boosted: Path, traced: Path) -> None:
    model, examples = load(boosted), load_examples(traced)
    table = attribution.measure(model, examples, [[name] for name in examples.statistics])["shap"]
    found = attribution.shap(model.classifier, model.table(examples))
    names = [str(name) for name in model.transformer.get_feature_names_out()]
    together = sum(found[:, :, place] for place, name in enumerate(names) if name.split(":")[1] == TRACE)
    row = table[(table["by"] == "statistic") & (table["name"] == TRACE)]
    assert row["importance"].item() == pytest.approx(np.abs(together).mean(), rel=1e-5)
    depth = table[(table["by"] == "function") & (table["name"] == attribution.DEPTH)]
    assert depth["members"].item() == "depth:early, depth:middle, depth:deep"


def test_every_model_has_the_methods_that_suit_it(trained: Path, boosted: Path, traced: Path) -> None:
    for location, methods in (
        (trained, {"permutation", "refit", "impurity"}),
        (boosted, {"permutation", "refit", "shap"}),
    ):
        assert (
            {path.stem.removeprefix("importance_").split("-")[0] for path in location.glob("*.parquet")}
            == methods
            <= set(METHODS)
        )
    forest = load(trained)
    svm = Model(replace(forest.card, model="svm"), forest.classifier)
    assert attribution.measure(svm, load_examples(traced), []) == {}


def test_a_model_put_in_anothers_place_leaves_no_importances_behind(
    trained: Path, boosted: Path, tmp_path: Path
) -> None:
    save(tmp_path, load(boosted), {"shap": pd.DataFrame({"by": ["statistic"], "importance": [1.0]})})
    save(tmp_path, load(trained), {"permutation": pd.DataFrame({"by": ["statistic"], "importance": [1.0]})})
    names = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert names == ["card.json", "classifier", "importance_permutation"]
