"""Models come back from disk as they were, without pickle, and nothing foreign is loaded."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from asked import train
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer
from synthetic import RULES, grid, write

from classifier.examples.sampling import apply
from classifier.examples.trajectories import load
from classifier.models import stored as artifacts
from classifier.models.card import load_card
from classifier.models.estimators import MODELS, Recipe
from classifier.models.estimators import grid as model_grid
from classifier.models.formats import format_of
from classifier.models.problem import Problem
from classifier.models.stored import Model
from classifier.studies import train as training
from classifier.studies.importance import importance
from classifier.studies.predict import predict
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
        classifier = Recipe(model).build(parameters, problem.columns("relative+shape", "all"))
        classifier.fit(problem.table("relative+shape", "all"), problem.codes)
        card = replace(load_card(trained), model=model, parameters=dict(parameters), format=format_of(classifier))
        fitted = Model(card, classifier)
        artifacts.save(tmp_path / "model", fitted, {"permutation": pd.DataFrame({"by": ["statistic"]})})
        again = artifacts.load(tmp_path / "model")
        assert again.card == card
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
    model = shutil.copytree(trained, tmp_path / "model")
    skops.io.dump(FunctionTransformer(foreign_function), model / "classifier.skops")
    with pytest.raises(RequestError, match=r"type '.*foreign_function', which is not on the allow-list"):
        artifacts.load(model)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classifier.skops", b"not a zip file", "not a skops file"),
        ("card.json", b"{", "damaged"),
        ("card.json", b"{}", "damaged"),
        (
            "card.json",
            b'{"model_version": 99}',
            "model version 99; this Rulescope reads version 3: `rulescope train` makes it anew",
        ),
        ("importance_permutation.parquet", b"x", "not a readable Parquet file"),
    ],
)
def test_damaged_models_are_refused(trained: Path, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    (model / name).write_bytes(content)
    with pytest.raises(RequestError, match=message):
        importance(model) if name.startswith("importance") else artifacts.load(model)


def test_a_damaged_xgboost_model_is_refused(trained: Path, tmp_path: Path) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps({**card, "format": "xgboost"}))
    with pytest.raises(RequestError, match="is missing"):
        artifacts.load(model)
    (model / "classifier.json").write_text("{")
    with pytest.raises(RequestError, match="damaged"):
        artifacts.load(model)


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


def test_a_card_that_does_not_say_saw_everything(trained: Path, tmp_path: Path) -> None:
    old = shutil.copytree(trained, tmp_path / "old")
    card = json.loads((old / "card.json").read_text())
    del card["electrode"], card["sampling"]
    (old / "card.json").write_text(json.dumps(card))
    assert load_card(old) == load_card(trained)


def test_a_model_that_could_not_be_loaded_again_is_not_kept(traced: Path, tmp_path: Path) -> None:
    """With so few features its tree is of a type that no stored model may hold."""
    model = KNeighborsClassifier(algorithm="kd_tree")
    with pytest.raises(
        RequestError, match=r"^this model cannot be kept: .* is refused: it holds the type '[^']*', which is not"
    ):
        train(traced, tmp_path / "m", model, ["levels"], observables=["change"], sampling="only1", refits=0)
    assert not (tmp_path / "m" / "classifier.skops").exists()


def test_a_card_of_an_unknown_format_is_a_sentence(trained: Path, tmp_path: Path) -> None:
    other = shutil.copytree(trained, tmp_path / "other")
    card = json.loads((other / "card.json").read_text()) | {"format": "pickle"}
    (other / "card.json").write_text(json.dumps(card))
    with pytest.raises(RequestError, match=r"unknown format of a model 'pickle'.*known: skops, xgboost"):
        artifacts.load(other)


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
    with pytest.raises(RequestError, match=f"cannot write the model to .*: {tmp_path} is not a directory that may be"):
        train(traced, tmp_path / "new" / "model")


def test_a_model_lies_at_a_uri_and_leaves_nothing_of_another_behind(traced: Path, tmp_path: Path) -> None:
    where = f"file://{tmp_path}/model"
    train(traced, where, "forest", ["shape"])
    train(traced, where, "xgboost", ["shape"], refits=0)
    kept = {"card.json", "classifier.json", "importance_permutation.parquet", "importance_shap.parquet"}
    assert {file.name for file in (tmp_path / "model").iterdir()} == kept
    assert (predict(where, traced)["called"] == predict(where, traced)["labelled"]).all()
    assert importance(where, by="observable", method="shap")["name"].iloc[0] == "weight"


def test_predict_refuses_unknown_levels(trained: Path, traced: Path) -> None:
    with pytest.raises(RequestError, match="unknown level 'cell'"):
        predict(trained, traced, "cell")
