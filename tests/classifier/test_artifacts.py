"""Models come back from disk as they were, without pickle, and nothing foreign is loaded."""

from __future__ import annotations

import functools
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from asked import train
from sklearn.dummy import DummyClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from synthetic import RULES, grid, write

from classifier.examples.sampling import apply
from classifier.examples.trajectories import load
from classifier.models import formats, soundness
from classifier.models import stored as artifacts
from classifier.models.card import load_card
from classifier.models.estimators import MODELS, Recipe, Setting
from classifier.models.estimators import grid as model_grid
from classifier.models.formats import format_of
from classifier.models.problem import Problem
from classifier.models.stored import Model
from classifier.studies import train as training
from classifier.studies.importance import importance
from classifier.studies.predict import predict
from generator.dataset.folder import Folder
from generator.dataset.schema import DatasetError
from generator.errors import RequestError
from generator.observables import statistics


def foreign_function(x: Any) -> Any:
    """A type that no allow-list names."""
    return x


@pytest.mark.parametrize("model", MODELS)
def test_a_stored_model_gives_the_same_scores(traced: Path, trained: Path, tmp_path: Path, model: str) -> None:
    examples = load(traced)
    problem = Problem.of(examples, "rule", ["relative+shape"])
    for parameters in model_grid(model):
        setting = Setting("relative+shape", parameters)
        classifier = problem.fit(Recipe(model), [setting], "all", np.arange(len(examples)))[0]
        card = replace(load_card(trained), model=model, parameters=dict(parameters), format=format_of(classifier))
        fitted = Model(card, classifier)
        artifacts.save(tmp_path / "model", fitted, {"permutation": pd.DataFrame({"by": ["statistic"]})})
        again = artifacts.load(tmp_path / "model")
        assert replace(again.card, seal="") == replace(card, seal="")
        np.testing.assert_array_equal(again.log_scores(examples), fitted.log_scores(examples))


def test_the_card_says_what_the_model_is(trained: Path, traced: Path) -> None:
    card = load_card(trained)
    assert card.labels == sorted(RULES)
    assert card.statistics == list(load(traced).statistics)
    assert card.scores == {"layer": 1.0, "network": 1.0, "chance": 0.25}
    assert card.networks == 72
    assert {"python", "scikit-learn", "xgboost"} <= set(card.versions)


def test_the_hash_of_the_training_data_follows_values_and_classes(traced: Path) -> None:
    examples = load(traced)
    classes = examples.identity["rule"].to_numpy(dtype=str)
    values = examples.values.copy()
    values[0, 0, 0] += 1
    found = [
        artifacts.digest(examples, classes),
        artifacts.digest(replace(examples, values=values), classes),
        artifacts.digest(examples, classes[::-1]),
    ]
    assert found[0] == artifacts.digest(load(traced), classes)
    assert len(set(found)) == 3


def test_a_type_outside_the_allow_list_is_refused_by_name(trained: Path, tmp_path: Path) -> None:
    model = forged(trained, tmp_path, skops.io.dumps(FunctionTransformer(foreign_function)))
    with pytest.raises(RequestError, match=r"^\S+ is refused: it holds the type '.*foreign_function', which is not on"):
        artifacts.load(model)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classifier-*", b"not a zip file", "do not belong together"),
        ("card.json", b"{", "damaged"),
        ("card.json", b"[" * 100_000, "damaged"),
        ("card.json", b"\xff", "damaged"),
        ("card.json", b'{"model_version": ' + b"4" * 5000 + b"}", "damaged"),
        ("card.json", b"{}", "damaged"),
        (
            "card.json",
            b'{"model_version": 99}',
            "model version 99; this Rulescope reads version 5: `rulescope train` makes it anew",
        ),
        ("importance_permutation-*", b"x", "not a readable Parquet file"),
    ],
)
def test_damaged_models_are_refused(trained: Path, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    next(model.glob(name)).write_bytes(content)
    with pytest.raises(RequestError, match=message):
        importance(model) if name.startswith("importance") else artifacts.load(model)


def test_a_classifier_that_is_not_there_is_said_to_be_missing(trained: Path, tmp_path: Path) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    next(model.glob("classifier-*")).unlink()
    with pytest.raises(RequestError, match="is missing; `rulescope train` writes it"):
        artifacts.load(model)


# -- models that a stranger made ---------------------------------------------------------------------------------------
def forged(model: Path, folder: Path, classifier: bytes | None = None, **changed: Any) -> Path:
    """A copy of a model with another classifier or another card, sealed as Rulescope would have."""
    old = load_card(model)
    content = classifier if classifier is not None else next(model.glob("classifier-*")).read_bytes()
    card = replace(old, **changed).sealed(content)
    made = folder / "forged"
    made.mkdir()
    (made / card.file(next(model.glob("classifier-*")).suffix)).write_bytes(content)
    (made / "card.json").write_text(json.dumps(asdict(card)))
    return made


def test_what_is_forged_without_a_fault_is_loaded(trained: Path, boosted: Path, tmp_path: Path) -> None:
    for number, model in enumerate((trained, boosted)):
        (tmp_path / str(number)).mkdir()
        artifacts.load(forged(model, tmp_path / str(number)))


@pytest.mark.parametrize("key", ["labels", "statistics"])
def test_a_card_that_was_changed_does_not_belong_to_its_classifier(key: str, trained: Path, tmp_path: Path) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(card | {key: card[key][::-1]}))
    with pytest.raises(RequestError, match="they do not belong together"):
        artifacts.load(model)


def test_another_models_classifier_does_not_belong_to_a_card(trained: Path, boosted: Path, tmp_path: Path) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    next(model.glob("classifier-*")).write_bytes(next(boosted.glob("classifier-*")).read_bytes())
    with pytest.raises(RequestError, match="they do not belong together"):
        artifacts.load(model)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"labels": "sgdm"}, "labels: Input should be a valid array"),
        ({"labels": ["sgdm", "sgdm", "fa", "ia"]}, "cannot be"),
        ({"labels": ["a", "b"]}, "it does not name 2 classes"),
        ({"checkpoints": 10**12}, "cannot be"),
        ({"checkpoints": 5}, r"it reads \d+ features, and its card gives it \d+"),
        ({"checkpoints": "6"}, "checkpoints: Input should be a valid integer"),
        ({"scores": {"layer": 1.0, "network": float("nan"), "chance": 0.25}}, "cannot be"),
        ({"scores": {"network": 1.0}}, "cannot be"),
        ({"scores": {"network": "good"}}, "scores.network: Input should be a valid number"),
        ({"format": "pickle"}, r"unknown format of a model 'pickle'.*known: skops, xgboost"),
        ({"features": "no such"}, "unknown"),
    ],
)
def test_a_card_that_cannot_be_is_refused(changed: dict[str, Any], says: str, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=says) as refusal:
        artifacts.load(forged(trained, tmp_path, **changed))
    assert "RequestError(" not in str(refusal.value)


def test_a_card_with_more_in_it_is_refused(trained: Path, tmp_path: Path) -> None:
    model = forged(trained, tmp_path)
    (model / "card.json").write_text(json.dumps(json.loads((model / "card.json").read_text()) | {"more": 1}))
    with pytest.raises(RequestError, match="more: Unexpected keyword argument"):
        load_card(model)


def _every_tree(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda learner: list(map(change, learner["gradient_booster"]["model"]["trees"]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda learner: learner["gradient_booster"]["model"].update(tree_info=[10**6] * 160),
            "a class that there is not",
        ),
        (
            lambda learner: learner["gradient_booster"]["model"].update(tree_info=[-1] * 160),
            "a class that there is not",
        ),
        (lambda learner: learner["gradient_booster"]["model"].update(iteration_indptr=[0, 10**6]), "rounds"),
        (lambda learner: learner["gradient_booster"].update(name="dart"), "boosted by 'dart'"),
        (lambda learner: learner["learner_model_param"].update(num_feature="7"), "a tree"),
        (lambda learner: learner["learner_model_param"].update(base_score="[NaN]"), "base score is no number"),
        (lambda learner: learner["learner_model_param"].update(num_class="1000000"), "how many classes"),
        (lambda learner: learner["objective"].update(name="reg:squarederror"), "its objective is"),
        (
            _every_tree(lambda tree: tree.update(left_children=[10**6] * len(tree["left_children"]))),
            "do not form a tree|one child",
        ),
        (_every_tree(lambda tree: tree["left_children"].__setitem__(0, 0)), "do not form a tree"),
        (_every_tree(lambda tree: tree["parents"].__setitem__(-1, 10**6)), "do not form a tree"),
        (_every_tree(lambda tree: tree["split_indices"].__setitem__(0, 10**9)), "a column that there is not"),
        (_every_tree(lambda tree: tree["split_indices"].__setitem__(0, -1)), "a column that there is not"),
        (_every_tree(lambda tree: tree["split_conditions"].__setitem__(-1, float("nan"))), "is no number"),
        (_every_tree(lambda tree: tree.update(split_conditions=[])), "as many nodes as it says"),
        (_every_tree(lambda tree: tree["split_type"].__setitem__(0, 1)), "categories"),
        (_every_tree(lambda tree: tree.update(categories=[1])), "categories"),
        (_every_tree(lambda tree: tree["left_children"].__setitem__(0, 1.5)), "whole numbers belong"),
        (lambda learner: learner.pop("gradient_booster"), "not a model of XGBoost's"),
        (lambda learner: learner["learner_model_param"].update(num_target="2"), "more than one thing at once"),
        (lambda learner: learner["learner_model_param"].update(num_feature="0"), "from nothing"),
        (
            lambda learner: learner["gradient_booster"]["model"]["gbtree_model_param"].update(num_trees="1"),
            "as many trees as it says",
        ),
        (lambda learner: learner["gradient_booster"]["model"].update(cats={"enc": [1]}), "categories"),
        (_every_tree(lambda tree: tree["right_children"].__setitem__(0, 10**6)), "do not form a tree"),
        (_every_tree(lambda tree: tree["default_left"].__setitem__(0, 2)), "neither left nor right"),
        (_every_tree(lambda tree: tree["tree_param"].update(size_leaf_vector="4")), "of another model"),
        (_every_tree(lambda tree: tree["tree_param"].update(num_feature="4")), "of another model"),
    ],
)
def test_trees_of_xgboost_that_lead_elsewhere_are_refused(
    change: Callable[[dict[str, Any]], None], says: str, boosted: Path, tmp_path: Path
) -> None:
    found = json.loads(next(boosted.glob("classifier-*")).read_text())
    change(found["learner"])
    with pytest.raises(RequestError, match=rf"classifier-\w+.json is damaged: .*({says})"):
        artifacts.load(forged(boosted, tmp_path, json.dumps(found).encode()))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"learner": 5}', b"\xff\xfe"])
def test_what_is_no_model_of_xgboosts_is_refused(content: bytes, boosted: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is damaged"):
        artifacts.load(forged(boosted, tmp_path, content))


def _with_nodes(name: str, value: float, node: int = 0) -> Callable[[Any], None]:
    def change(forest: Any) -> None:
        tree = forest.estimators_[0].tree_
        state = tree.__getstate__()
        state["nodes"] = state["nodes"].copy()
        state["nodes"][name][node] = value
        tree.__setstate__(state)

    return change


def _nan_leaf(forest: Any) -> None:
    forest.estimators_[0].tree_.value[-1] = np.nan


def _of_more_columns(forest: Any) -> None:
    forest.estimators_[0] = type(forest.estimators_[0])().fit(
        np.eye(forest.n_features_in_ + 9), np.arange(forest.n_features_in_ + 9) % 4
    )


def _a_tree_of_more_columns(forest: Any) -> None:
    many = forest.n_features_in_ + 9
    forest.estimators_[0].tree_ = type(forest.estimators_[0])().fit(np.eye(many), np.arange(many) % 4).tree_


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_with_nodes("left_child", 0), "do not form a tree"),
        (_with_nodes("left_child", 10**6), "do not form a tree"),
        (_with_nodes("right_child", -7), "do not form a tree"),
        (_with_nodes("right_child", -1), "one child"),
        (_with_nodes("feature", 10**6), "a column that there is not"),
        (_with_nodes("feature", -3), "a column that there is not"),
        (_with_nodes("threshold", float("nan")), "threshold of a tree is no number"),
        (_nan_leaf, "holds no numbers"),
        (_of_more_columns, r"a part of it reads \d+ columns of \d+"),
        (_a_tree_of_more_columns, r"a tree reads \d+ columns of \d+"),
        (lambda forest: setattr(forest, "classes_", np.array(["a", "b", "c", "d"])), "does not name 4 classes"),
        (lambda forest: setattr(forest, "n_features_in_", 3), "columns|features"),
        (lambda forest: setattr(forest, "estimators_", []), "cannot be asked|not numbers"),
        (lambda forest: setattr(forest, "n_classes_", 2), "cannot be asked|not numbers"),
    ],
)
def test_trees_of_scikit_learn_that_lead_elsewhere_are_refused(
    change: Callable[[Any], None], says: str, trained: Path, tmp_path: Path
) -> None:
    forest = artifacts.load(trained).classifier
    change(forest)
    with pytest.raises(RequestError, match=rf"classifier-\w+.skops is damaged: .*({says})"):
        artifacts.load(forged(trained, tmp_path, skops.io.dumps(forest)))


def _first_tree(node: Any) -> Any:
    """The first node of a skops file's schema that is a tree."""
    if isinstance(node, dict) and node.get("__loader__") == "TreeNode":
        return node
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return next(filter(None, map(_first_tree, inside)), None)


def _state(name: str, value: object) -> Callable[[Any, dict[str, bytes]], None]:
    """Another number, or another array, in the state of the first tree."""

    def change(tree: Any, files: dict[str, bytes]) -> None:
        node = tree["content"]["content"][name]
        if isinstance(value, np.ndarray):
            np.save(made := io.BytesIO(), value)
            files[node["file"]] = made.getvalue()
        else:
            node.update(content=json.dumps(value), __id__=1)

    return change


def _argument(place: int, value: object) -> Callable[[Any, dict[str, bytes]], None]:
    """Another number among the arguments of its constructor."""

    def change(tree: Any, files: dict[str, bytes]) -> None:
        node = tree["__reduce__"]["args"]["content"][place]
        node.update(content=json.dumps(value), __id__=1)  # equal numbers are one object, and have one id

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_state("nodes", np.array(0)), "as many nodes as it says"),  # at its length scikit-learn reads anything
        (_state("nodes", np.zeros((0, 0))), "as many nodes as it says"),
        (_state("values", np.zeros((1, 1, 4))), "as many nodes as it says"),
        (_state("node_count", 10**9), "as many nodes as it says"),
        (_state("node_count", -(10**9)), "a size of a tree is no number"),
        (_state("max_depth", "5"), "a size of a tree is no number"),
        (_argument(0, -1), "a size of a tree is no number"),
        (_argument(2, 2**40), "a size of a tree is no number"),
        (_argument(2, 7), "a tree has no classes"),
        (_argument(2, None), "a size of a tree is no number"),
    ],
)
def test_trees_whose_sizes_are_wrong_are_never_built(
    change: Callable[[Any, dict[str, bytes]], None], says: str, trained: Path, tmp_path: Path
) -> None:
    content = next(trained.glob("classifier-*")).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        files = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(files["schema.json"])
    change(_first_tree(schema), files)
    files["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(made := io.BytesIO(), "w") as file:
        for name, part in files.items():
            file.writestr(name, part)
    with pytest.raises(RequestError, match=rf"classifier-\w+.skops is damaged: .*({says})"):
        artifacts.load(forged(trained, tmp_path, made.getvalue()))


@pytest.mark.parametrize(
    ("state", "arguments", "says"),
    [
        (5, (), "not made as trees are"),
        ({}, (1, np.array([2]), 1, 1), "not made as trees are"),
        ({"node_count": 1, "max_depth": 1, "nodes": None, "values": None}, (1, np.array([2]), 1), "lacks its nodes"),
        ({"node_count": 1, "max_depth": 1, "nodes": np.zeros(1), "values": np.zeros((1, 1, 2))}, (1, 2, 1), "lacks"),
    ],
)
def test_what_is_no_tree_is_never_built(state: Any, arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        soundness.unbuilt([(state, arguments)])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"coef_": np.full((4, 3), np.nan)}, "NaN or infinite"),
        ({"intercept_": np.array([0, 1, np.inf, 0])}, "NaN or infinite"),
        ({"coef_": np.ones((4, 3), dtype=complex)}, "an array of complex128"),
        ({"more": GaussianProcessClassifier()}, "a GaussianProcessClassifier, which cannot be checked"),
        ({"more": functools.reduce(lambda inner, _: [inner], range(60), object())}, "nested too deeply"),
        ({"more": KNeighborsClassifier(algorithm="kd_tree").fit(np.eye(3), [0, 1, 2])}, "in a tree, which cannot be"),
    ],
)
def test_an_estimator_that_holds_what_it_must_not_is_refused(changed: dict[str, Any], says: str) -> None:
    linear = LogisticRegression().fit(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 4)
    soundness.fitted(linear)
    vars(linear).update(changed)
    with pytest.raises(ValueError, match=says):
        soundness.fitted(linear)


def test_scores_that_are_no_numbers_are_refused() -> None:
    same = DummyClassifier(strategy="prior").fit(np.zeros((4, 3)), np.arange(4))
    soundness.answers(same, 4, 3)
    same.class_prior_ = np.full(4, np.nan)
    with pytest.raises(ValueError, match="its scores are not numbers"):
        soundness.answers(same, 4, 3)


@pytest.mark.parametrize("of", ["card", "stored"])
def test_a_file_that_is_too_large_is_refused_unread(of: str, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"classifier.models.{of}.LARGEST", 10)
    with pytest.raises(RequestError, match=r"is refused: it has .*, of at most"):
        artifacts.load(trained)


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_does(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", b"0" * 10**7)
    assert len(content.getvalue()) < 10**5
    monkeypatch.setattr(formats, "LARGEST", 10**6)
    monkeypatch.setattr(skops.io, "get_untrusted_types", None)
    with pytest.raises(RequestError, match=r"is refused: it unpacks to 0\.0 GB"):
        artifacts.load(forged(trained, tmp_path, content.getvalue()))


def test_support_vectors_and_neighbours_that_do_not_fit_together_are_refused(trained: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    codes = np.arange(40) % 4
    machine, near = SVC().fit(X, codes), KNeighborsClassifier(algorithm="brute").fit(X, codes)
    for sound in (machine, near):
        soundness.fitted(sound)
    machine._dual_coef_ = machine._dual_coef_[:, :2]
    near._fit_X = near._fit_X[:, :1]
    for broken, says in ((machine, "support vector machine does not fit"), (near, "known examples do not fit")):
        with pytest.raises(ValueError, match=says):
            soundness.fitted(broken)


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("format_", ["skops", "xgboost"])
def test_a_model_whose_writing_fails_is_the_old_one(
    format_: str, step: int, trained: Path, boosted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: at the classifier, at an importance, at the card. The new model's files end as the old one's, or not."""
    model = shutil.copytree(trained, tmp_path / "model")
    before = artifacts.load(model).card
    new = artifacts.load(boosted if format_ == "xgboost" else trained)
    new = replace(new, card=replace(new.card, networks=5))
    publish, done = Folder.publish, list[str]()

    def full(folder: Folder, name: str, content: bytes) -> None:
        if len(done) == step:
            raise DatasetError("cannot write: No space left on device")
        done.append(name)
        publish(folder, name, content)

    monkeypatch.setattr(Folder, "publish", full)
    with pytest.raises(RequestError, match=r"cannot write the model to .*No space left"):
        artifacts.save(model, new, {"shap": pd.DataFrame({"by": ["statistic"]})})
    monkeypatch.undo()
    assert artifacts.load(model).card == before
    assert len(importance(model)) > 0
    artifacts.save(model, new, {"shap": pd.DataFrame({"by": ["statistic"]})})
    assert {file.name.split("-")[0] for file in model.iterdir()} == {"card.json", "classifier", "importance_shap"}


def test_predict_names_new_networks(trained: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new", grid(architectures=["mlp9"], seeds=1))
    networks, layers = predict(trained, new), predict(trained, new, "layer")
    assert len(networks) == 24
    assert len(layers) == 72
    assert (networks["called"] == networks["labelled"]).all()
    scores = [f"score_{rule}" for rule in sorted(RULES)]
    for table in (networks, layers):
        np.testing.assert_allclose(table[scores].sum(axis=1), 1, rtol=1e-6)
    assert layers["layer"].tolist()[:3] == ["fc1", "fc2", "fc3"]


def test_predict_on_a_dataset_without_the_statistics_or_checkpoints_is_a_sentence(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = write(tmp_path / "short", grid(seeds=1), checkpoints=4)
    with pytest.raises(RequestError, match="reads 6 checkpoints per trajectory; these have 4"):
        predict(trained, short)

    fewer = [one for one in statistics() if one.name not in ("weight_abs_mean", "change_sq")]
    lacking = write(tmp_path / "lacking", grid(seeds=1), declared=fewer)
    with pytest.raises(RequestError, match="lacks 2 of the 45 statistics needed: weight_abs_mean, change_sq"):
        predict(trained, lacking)


def test_a_model_of_what_an_experimenter_has_reads_that_by_itself(measured: Path, tmp_path: Path) -> None:
    """The trace is in the weights at checkpoints 1 to 4; one checkpoint later under the electrode units2."""
    experimenter = {"electrode": "units2", "sampling": "last5", "observables": ["weight"]}
    card = train(measured, tmp_path / "m", "forest", ["shape"], **experimenter)  # type: ignore[arg-type]
    assert load_card(tmp_path / "m") == card
    assert (card.electrode, card.sampling, card.checkpoints) == ("units2", "last5", 5)
    assert {name.split("_")[0] for name in card.statistics} == {"weight"}
    assert card.scores["network"] == 1.0
    own = predict(tmp_path / "m", measured)
    assert (own["called"] == own["labelled"]).all()
    full = predict(tmp_path / "m", measured, electrode="full", sampling="first5")  # the same, a checkpoint earlier
    assert (full["called"] == full["labelled"]).all()
    other = predict(tmp_path / "m", measured, electrode="full")
    before = {"adam": "sgdm", "fa": "adam", "ia": "fa"}  # what each looks like a checkpoint too early
    seen = other[other["labelled"].isin(list(before))]
    assert (seen["called"] == seen["labelled"].map(before)).all()
    five = apply(load(measured, "units2"), "last5")
    assert predict(tmp_path / "m", five).equals(own)  # the sessions are the experimenter's own
    with pytest.raises(RequestError, match="reads 5 checkpoints per trajectory; these have 6"):
        predict(tmp_path / "m", measured, sampling="all")
    with pytest.raises(RequestError, match="unknown electrode 'units9'"):
        predict(tmp_path / "m", measured, electrode="units9")


def test_a_model_of_a_single_session(measured: Path, tmp_path: Path) -> None:
    for model in ("forest", "xgboost", "svm"):
        card = train(measured, tmp_path / model, model, sampling="only1")
        assert (card.features, card.checkpoints) == ("levels", 1)
        assert len(predict(tmp_path / model, measured)) == 96


def test_a_model_that_could_not_be_loaded_again_is_not_kept(traced: Path, tmp_path: Path) -> None:
    """With so few features its tree is of a type that no stored model may hold."""
    model = KNeighborsClassifier(algorithm="kd_tree")
    with pytest.raises(
        RequestError, match=r"^this model cannot be kept: .* is refused: it holds the type '[^']*', which is not"
    ):
        train(traced, tmp_path / "m", model, ["levels"], observables=["change"], sampling="only1", refits=0)
    assert not list(tmp_path.glob("m/*"))


def test_train_does_not_write_into_a_foreign_directory(traced: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RequestError, match="is not a model: name a new directory"):
        train(traced, tmp_path)
    with pytest.raises(RequestError, match="is not a model: name a new directory"):
        train(traced, tmp_path / "thesis.txt")


def test_a_place_that_cannot_be_written_to_is_said_before_training(
    traced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda place, mode: str(place) != str(tmp_path))  # root may write anywhere
    monkeypatch.setattr(training, "choose", None)
    with pytest.raises(
        RequestError, match=f"cannot write .*/new/model/card.json: {tmp_path} is not a directory that may be"
    ):
        train(traced, tmp_path / "new" / "model")


def test_a_model_lies_at_a_uri_and_leaves_nothing_of_another_behind(traced: Path, tmp_path: Path) -> None:
    where = f"file://{tmp_path}/model"
    train(traced, where, "forest", ["shape"])
    train(traced, where, "xgboost", ["shape"], refits=0)
    kept = {"card.json", "classifier", "importance_permutation", "importance_shap"}
    assert {file.name.split("-")[0] for file in (tmp_path / "model").iterdir()} == kept
    assert len(list((tmp_path / "model").iterdir())) == 4
    assert (predict(where, traced)["called"] == predict(where, traced)["labelled"]).all()
    assert importance(where, by="observable", method="shap")["name"].iloc[0] == "weight"


def test_predict_refuses_unknown_levels(trained: Path, traced: Path) -> None:
    with pytest.raises(RequestError, match="unknown level 'cell'"):
        predict(trained, traced, "cell")
