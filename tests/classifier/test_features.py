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

from classifier.examples.features import TRANSFORMS, Feature, TrajectoryFeatures, Transform, inputs
from classifier.examples.trajectories import Examples, Parts, load
from classifier.models import problem
from classifier.models.estimators import FEATURES
from classifier.studies.predict import predict
from generator.errors import RequestError

NAN, LN2 = np.nan, np.log(2)
SPREAD = np.sqrt(14 / 9)  # of 1, 2, 4: mean 7/3, squared deviations 16/9, 1/9, 25/9
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
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_against_hand_computed_values(name: str) -> None:
    trajectories = np.array(BY_HAND["levels"], dtype=np.float32)
    networks = np.array([[0], [0], [1], [1]], dtype=np.float32)  # for transforms that look at them
    found = TrajectoryFeatures(name, ("s",), 3).fit_transform(np.hstack([trajectories, networks]))
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
    networks = np.zeros((4, 1), dtype=np.float32)
    found = TrajectoryFeatures("+".join(TRANSFORMS), ("s",), 3).fit_transform(np.hstack([extreme, networks]))
    assert not np.isinf(found).any()


@pytest.mark.parametrize("name", [*TRANSFORMS, *FEATURES])
def test_names_read_back_to_what_the_column_holds(name: str) -> None:
    rng = np.random.default_rng(0)
    names = ("weight_abs_mean", "change_raw")
    values = rng.lognormal(size=(5, 4, 2)).astype(np.float32)
    transformer, networks = TrajectoryFeatures(name, names, 4), np.array([0, 0, 1, 1, 1])
    found = transformer.fit_transform(np.hstack([values.reshape(5, 8), networks[:, None]]))
    columns = transformer.get_feature_names_out()
    assert found.shape[1] == len(columns) == len(set(columns))
    for column, text in enumerate(columns):
        feature = Feature.named(text)
        assert feature.name == text
        transform, alone = TRANSFORMS[feature.transform], values[:, :, [names.index(feature.statistic)]]
        expected = transform(alone.astype(np.float64), networks)
        place = list(map(str, transform.columns(4))).index(str(feature.column))
        np.testing.assert_array_equal(found[:, column], expected[:, place, 0].astype(np.float32))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return load(write(tmp_path_factory.mktemp("features") / "d", grid()))


@pytest.fixture
def relation(monkeypatch: pytest.MonkeyPatch) -> str:
    """A transform that looks at the network: two words instead of checkpoints, what is less its mean over the layers."""

    def make(x: np.ndarray, networks: np.ndarray) -> np.ndarray:
        ends = x[:, [0, -1]]
        means = np.stack([ends[networks == network].mean(0) for network in networks])
        return ends - means

    monkeypatch.setitem(TRANSFORMS, "relation", Transform("relation", make, lambda checkpoints: ("start", "end"), True))
    return "relation"


def test_a_transform_may_look_at_the_whole_network(relation: str, study: Examples) -> None:
    transformer = TrajectoryFeatures(relation, tuple(study.statistics), study.checkpoints)
    found = transformer.fit_transform(inputs(study))
    names = transformer.get_feature_names_out()
    assert names[0] == f"relation:{next(iter(study.statistics))}:start"
    assert Feature.named(names[0]).checkpoint is None
    assert found.shape == (len(study), 2 * len(study.statistics) + 3)
    network = study.identity["network_id"]
    one = (network == network.iloc[7]).to_numpy()
    values = study.values[one].astype(np.float64)
    expected = (values - values.mean(0))[:, [0, -1]].reshape(one.sum(), -1)
    np.testing.assert_allclose(found[one, :-3], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="looks at whole networks"):
        transformer.fit_transform(study.values)


def test_chunks_of_a_table_do_not_cut_networks(relation: str, study: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = problem.feature_table(study, "relation+shape")
    shuffled = np.random.default_rng(0).permutation(len(study))
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(problem, "CHUNK", chunk)
        found = problem.feature_table(study.rows(shuffled), "relation+shape")
        np.testing.assert_allclose(found, whole[shuffled], rtol=1e-6)


def test_evaluating_and_training_take_a_transform_of_the_network(
    relation: str, study: Examples, tmp_path: Path
) -> None:
    found = evaluate(study, ["forest"], ["relation+shape"], n_splits=2)
    assert found["chosen"]["forest"] == {"relation+shape": 2}
    card = train(study, tmp_path / "m", "forest", ["relation+shape"], refits=1)
    assert card.features == "relation+shape"
    predict(tmp_path / "m", study)


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


@pytest.mark.parametrize(("name", "message"), [("relatve", "did you mean 'relative'"), ("shape+shape", "twice")])
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
        pd.DataFrame({"network_id": list("abc"), "depth": ["deep", "early", "middle"]}),
    )
