"""Feature transforms against numbers worked out by hand, and names that read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from asked import evaluate, train
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline
from synthetic import grid, write

from classifier.examples.features import OWN, TRANSFORMS, Feature, TrajectoryFeatures, inputs, scale_free
from classifier.examples.relations import RELATIONS, related
from classifier.examples.trajectories import Examples, Parts, load
from classifier.models import problem
from classifier.models.estimators import FEATURES
from classifier.studies.importance import importance
from classifier.studies.predict import predict
from generator.errors import RequestError

NAN, LN2 = np.nan, np.log(2)
SPREAD = np.sqrt(14 / 9)  # of 1, 2, 4: mean 7/3, squared deviations 16/9, 1/9, 25/9
LN3, ASINH = np.log(3), np.arcsinh
BY_HAND = {
    "levels": [[1, 2, 4], [0, 3, 3], [-2, -1, -4], [5, 5, 5]],
    "change": [[1, 3], [3, 3], [1, -2], [0, 0]],
    "difference": [[1, 2], [3, 0], [1, -3], [0, 0]],
    "relative": [[1, 3], [NAN, NAN], [0.5, -1], [0, 0]],
    "logchange": [[LN2, 2 * LN2], [NAN, NAN], [-LN2, LN2], [0, 0]],
    "logdifference": [[LN2, LN2], [NAN, 0], [-LN2, 2 * LN2], [0, 0]],
    "shape": [
        [-4 / 3 / SPREAD, -1 / 3 / SPREAD, 5 / 3 / SPREAD],
        [-np.sqrt(2), np.sqrt(0.5), np.sqrt(0.5)],
        [1 / 3 / SPREAD, 4 / 3 / SPREAD, -5 / 3 / SPREAD],
        [NAN, NAN, NAN],
    ],
    "cosines": [[1, 2, 4], [0, 3, 3], [-2, -1, -4], [5, 5, 5]],
    "dimensionless": [[1, 2, 4], [0, 3, 3], [-2, -1, -4], [5, 5, 5]],
    "normchange": [[3, 15], [9, 9], [-3, 12], [0, 0]],
    "summary": [  # net, path, change, first, early, late, roughness, persistence
        [1, LN3, ASINH(3), 1 / 3, 1 / 3, 2 / 3, 0, NAN],
        [1, NAN, NAN, 1, 1, 0, 0, NAN],
        [-1 / 2, LN2, ASINH(-1), 1 / 4, 1 / 4, 3 / 4, 0, NAN],
        [NAN, NAN, 0, NAN, NAN, NAN, NAN, NAN],
    ],
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_against_hand_computed_values(name: str) -> None:
    trajectories = np.array(BY_HAND["levels"], dtype=np.float32)
    statistic = {"cosines": "transport_similarity", "dimensionless": "weight_raw_skew"}.get(name, "weight_raw_norm")
    found = TrajectoryFeatures(name, (statistic,), 3).fit_transform(trajectories[:, :, None])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, BY_HAND[name], rtol=1e-6, atol=1e-7)


def test_every_transform_has_values_by_hand() -> None:
    assert set(BY_HAND) == set(TRANSFORMS)


def test_an_undefined_checkpoint_does_not_spoil_the_shape_of_the_others() -> None:
    found = TrajectoryFeatures("shape", ("s",), 3).fit_transform(np.array([[[1.0], [NAN], [3.0]]]))
    np.testing.assert_array_equal(found, [[-1, NAN, 1]])


def test_a_constant_has_no_shape_whatever_its_value() -> None:
    constants = np.random.default_rng(0).lognormal(size=(200, 1, 1)).astype(np.float32)
    assert np.isnan(TrajectoryFeatures("shape", ("s",), 21).fit_transform(np.repeat(constants, 21, axis=1))).all()


def test_infinities_never_leave() -> None:
    extreme = np.array([[0, 1e38, -1e38], [1e-45, 3e38, 0], [np.inf, 1, 2], [NAN, NAN, NAN]], dtype=np.float32)
    who = np.stack([np.zeros(4), np.arange(4)], axis=1)
    every = [f"{name}@{relation}" for name in TRANSFORMS for relation in RELATIONS]
    made = TrajectoryFeatures("+".join([*TRANSFORMS, *every]), ("weight_raw_norm",), 3)
    found = made.fit_transform(np.hstack([extreme, who]))
    assert not np.isinf(found).any()


@pytest.mark.parametrize("name", [*TRANSFORMS, *FEATURES])
def test_names_read_back_to_what_the_column_holds(name: str) -> None:
    rng = np.random.default_rng(0)
    names, who = ("weight_raw_norm", "change_raw"), np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]])
    values = rng.lognormal(size=(5, 4, 2)).astype(np.float32)
    transformer = TrajectoryFeatures(name, names, 4)
    found = transformer.fit_transform(np.hstack([values.reshape(5, 8), who]))
    columns = transformer.get_feature_names_out()
    assert found.shape[1] == len(columns) == len(set(columns))
    for column, text in enumerate(columns):
        feature = Feature.named(text)
        assert feature.name == text
        alone = values[:, :, [names.index(feature.statistic)]].astype(np.float64)
        expected = TRANSFORMS[feature.transform].make(alone)
        if feature.relation != OWN:
            expected = related(feature.relation, expected, *who.T)
        place = list(map(str, TRANSFORMS[feature.transform].columns(4))).index(str(feature.column))
        np.testing.assert_array_equal(found[:, column], expected[:, place, 0].astype(np.float32))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return load(write(tmp_path_factory.mktemp("features") / "d", grid()))


COMPARED = "levels@less_mean"


def test_layers_are_compared_with_their_network(study: Examples) -> None:
    transformer = TrajectoryFeatures(COMPARED, tuple(study.statistics), study.checkpoints)
    found = transformer.fit_transform(inputs(study))
    names = transformer.get_feature_names_out()
    assert names[0] == f"levels@less_mean:{next(iter(study.statistics))}:0"
    assert Feature.named(names[0]).relation == "less_mean"
    network = study.identity["network_id"]
    one = (network == network.iloc[7]).to_numpy()
    values = study.values[one].astype(np.float64)
    expected = (values - values.mean(0)).reshape(one.sum(), -1)
    np.testing.assert_allclose(found[one, :-3], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="compares layers"):
        transformer.fit_transform(study.values)


def test_chunks_of_a_table_do_not_cut_networks(study: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = problem.feature_table(study, f"{COMPARED}+shape")
    shuffled = np.random.default_rng(0).permutation(len(study))
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(problem, "CHUNK", chunk)
        found = problem.feature_table(study.rows(shuffled), f"{COMPARED}+shape")
        np.testing.assert_allclose(found, whole[shuffled], rtol=1e-6)


def test_evaluating_and_training_compare_layers(study: Examples, tmp_path: Path) -> None:
    found = evaluate(study, ["forest"], [f"{COMPARED}+shape"], n_splits=2)
    assert found["chosen"]["forest"] == {f"{COMPARED}+shape": 2}
    card = train(study, tmp_path / "m", "forest", [f"{COMPARED}+shape"], refits=1)
    assert card.features == f"{COMPARED}+shape"
    predict(tmp_path / "m", study)
    for method in ("permutation", "impurity"):
        by_relation = importance(tmp_path / "m", "relation", None, method).set_index("name")["importance"]
        assert {"own", "less_mean"} <= set(by_relation.index)
    assert by_relation.sum() == pytest.approx(1)


def test_features_that_say_nothing_of_what_was_measured_are_a_sentence(study: Examples) -> None:
    with pytest.raises(RequestError, match="features 'normchange' are for other statistics than activation"):
        evaluate(study.of(["activation"]), ["forest"], ["normchange"], ["all"], n_splits=2)
    with pytest.raises(RequestError, match="features 'normchange' are for other statistics than activation"):
        evaluate(study, ["forest"], ["normchange"], ["all", "activation"], n_splits=2)


# -- summaries ---------------------------------------------------------------------------------------------------------
def test_summary_of_a_trajectory_with_a_gap_against_plain_python() -> None:
    x = [NAN, 2.0, 3.0, 2.5, NAN, 4.0, 7.0, 6.0]
    steps = [1.0, -0.5, 3.0, -1.0]  # 2→3, 3→2.5, 4→7, 7→6; the first and the last third are 3 of 7 places each
    path, net = 5.5, 4.0
    followed = [(1.0, -0.5), (3.0, -1.0)]
    expected = {
        "net": net / path,
        "path": np.log(path / 2),
        "change": np.arcsinh(net / 2),
        "first": 0.0,
        "early": 1.5 / path,
        "late": 4.0 / path,
        "roughness": np.std([-1.5, -4.0]) / np.std(steps),
        "persistence": np.corrcoef(*zip(*followed, strict=True))[0, 1],
    }
    found = TrajectoryFeatures("summary", ("s",), 8).fit_transform(np.array([x])[:, :, None])
    np.testing.assert_allclose(found[0], list(expected.values()), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", sorted(TRANSFORMS.keys() - {"cosines", "dimensionless"}))  # theirs have no unit
def test_what_is_declared_free_of_scale_is(name: str) -> None:
    x = np.random.default_rng(0).lognormal(size=(20, 9, 1)) - 1
    once, twice = (TRANSFORMS[name].make(scale * x) for scale in (1.0, 1e4))
    assert np.allclose(once, twice, equal_nan=True) == TRANSFORMS[name].scale_free


@pytest.mark.parametrize(
    ("features", "free"),
    [
        ("summary+shape@less_mean", True),
        ("summary+levels@less_mean", False),
        ("normchange", False),
        ("normchange@less_mean", False),
        ("normchange@over_mean+levels@over_mean", True),
        (FEATURES[0], True),
    ],
)
def test_a_set_is_free_of_scale_if_all_its_parts_are(features: str, free: bool) -> None:
    x = np.random.default_rng(0).lognormal(size=(20, 9)).astype(np.float32)
    who = np.stack([np.arange(20) // 4, np.arange(20) % 4], axis=1)
    made = TrajectoryFeatures(features, ("weight_raw_norm",), 9)
    once, twice = (made.fit_transform(np.hstack([scale * x, who])) for scale in (1.0, 1024.0))
    assert np.allclose(once, twice, rtol=1e-4, equal_nan=True) == free
    assert scale_free(features) == free


def test_depth_is_appended_and_named(examples: Examples) -> None:
    transformer = TrajectoryFeatures("levels", tuple(examples.statistics), examples.checkpoints).fit(inputs(examples))
    found, names = transformer.transform(inputs(examples)), transformer.get_feature_names_out()
    np.testing.assert_array_equal(found[:, -3:], examples.depth)
    assert [Feature.named(name) for name in names[-3:]] == [
        Feature("depth", d, None) for d in ("early", "middle", "deep")
    ]
    assert found.shape[1] == len(names)


def test_the_papers_507_features() -> None:
    names = tuple(f"s{i}" for i in range(24))
    assert TrajectoryFeatures("levels", names, 21).fit_transform(np.ones((2, 24 * 21 + 3))).shape == (2, 507)


def test_works_in_a_pipeline_on_the_array_and_on_its_flattened_form() -> None:
    values = np.random.default_rng(0).lognormal(size=(40, 4, 2)).astype(np.float32)
    y = np.arange(40) % 2
    values[y == 1, :, 0] *= 50
    pipeline = make_pipeline(
        TrajectoryFeatures("levels+shape", ("a", "b"), 4), ExtraTreesClassifier(20, random_state=0)
    )
    whole = clone(pipeline).fit(values, y).predict_proba(values)
    flat = clone(pipeline).fit(values.reshape(40, -1), y).predict_proba(values.reshape(40, -1))
    np.testing.assert_array_equal(whole, flat)


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 4), (3, 4, 3)])
def test_arrays_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 4 checkpoints × 2 statistics"):
        TrajectoryFeatures("levels", ("a", "b"), 4).fit(np.ones(shape))


@pytest.mark.parametrize(
    ("name", "message"),
    [("relatve", "did you mean 'relative'"), ("shape+shape", "twice"), ("shape@mena", "did you mean 'mean'")],
)
def test_wrong_features_are_a_sentence(name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        TrajectoryFeatures(name, ("s",), 3).fit_transform(np.ones((2, 3, 1)))


@pytest.fixture
def examples() -> Examples:
    import pandas as pd

    values = np.random.default_rng(0).lognormal(size=(3, 4, 2)).astype(np.float32)
    parts = {"weight_abs_mean": Parts("weight", "abs", "mean"), "change_raw": Parts("change", "raw", "mean")}
    return Examples(
        values,
        parts,
        np.zeros((3, 4, 3)),
        pd.DataFrame({"network_id": list("abc"), "depth": ["deep", "early", "middle"], "layer_index": [2, 0, 1]}),
    )
