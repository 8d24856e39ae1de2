"""`import rulescope as rs`: what the commands do, from Python, on datasets, one's own arrays and one's own classifiers."""

from __future__ import annotations

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small
import tomli_w
from matplotlib.figure import Figure
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import rulescope as rs
from classifier.examples.features import TRANSFORMS
from classifier.models.estimators import MODELS
from generator.dataset.noise import MODES
from generator.observables import OBSERVABLES, SETS
from generator.rules import ALIASES

SPEC = small.SPEC | {"electrode": [{"units": [4, 16], "noise": [0.0, 0.5]}]}
WITH_EXAMPLES = (  # in the order of work: some need what those before them made
    *("plan", "generate", "status", "verify", "rerun", "merge", "compact", "curves", "report", "load", "evaluate"),
    *("controls", "train", "predict", "importance", "robustness", "power"),
    *("transfer", "distinguish", "identify", "trust", "plugin"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    location = tmp_path_factory.mktemp("api") / "small"
    found = rs.generate(SPEC, location, workers=0)
    assert isinstance(found, rs.Dataset)
    assert rs.verify(found) == rs.verify(location) == []
    return location


@pytest.fixture(scope="module")
def examples(place: Path) -> rs.Examples:
    return rs.load(place)


def test_every_name_is_there_and_none_is_imported_before_it_is_used() -> None:
    assert all(getattr(rs, name) is not None for name in rs.__all__)
    assert set(dir(rs)) == set(rs.__all__)
    with pytest.raises(AttributeError, match=r"has no attribute 'evalute'; it has .*evaluate"):
        rs.evalute  # noqa: B018
    code = "import sys, rulescope as rs; rs.__version__; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert not {"torch", "sklearn", "pandas", "generator.api"} & set(found.stdout.split())


def test_a_plan_of_a_dictionary() -> None:
    found = rs.plan(SPEC)
    assert found.networks == 48
    assert found.table.to_dict("list") == {
        **{"architecture": ["mlp2", "mlp3"], "task": ["digits"] * 2, "objective": ["supervised"] * 2},
        **{"layers": [2, 3], "sgdm": [12, 12], "adam": [12, 12]},
    }
    assert found.to_dict()["counts"][0] == {
        **{"rule": "sgdm", "architecture": "mlp2", "task": "digits", "objective": "supervised", "networks": 12}
    }
    with pytest.raises(rs.RequestError, match=r"^unknown rule 'sgmd'"):
        rs.plan(SPEC | {"grid": [SPEC["grid"][0] | {"rule": "sgmd"}]})
    with pytest.raises(rs.RequestError, match="holds what a TOML file cannot"):
        rs.plan(SPEC | {"probe": None})


def test_status_rerun_and_merge(place: Path, tmp_path: Path) -> None:
    assert rs.status(place).networks == 48
    network = rs.Dataset(place).cohorts()[0].network_ids[0]
    assert rs.rerun(place, network, out=tmp_path / "again", device="cpu").checkpoints == 4
    assert rs.merge(tmp_path / "both", place, place).networks() == 48


def test_examples_are_tables(examples: rs.Examples) -> None:
    frame = examples.to_frame()
    assert len(frame) == len(examples) * 4
    assert {"network_id", "rule", "checkpoint", "probe_accuracy", "weight_abs_mean"} <= set(frame.columns)
    row = frame[(frame["network_id"] == examples.identity["network_id"].iloc[5]) & (frame["checkpoint"] == 2)]
    layer = row[row["layer"] == examples.identity["layer"].iloc[5]]["weight_abs_mean"].item()
    assert layer == examples.values[5, 2, list(examples.statistics).index("weight_abs_mean")]
    assert examples.X.shape[0] == len(examples) == len(examples.y) == len(examples.groups)
    assert examples.X.columns[0] == "logdifference:weight_raw_norm:1"
    assert set(examples.y) == {"sgdm", "adam"}


def test_evaluate_takes_names_and_classifiers(examples: rs.Examples) -> None:
    own = [KNeighborsClassifier(3), RidgeClassifier(), DummyClassifier(strategy="most_frequent")]
    found = rs.evaluate(
        examples, models=["forest", *own], features=["levels"], n_splits=2, observables=["all", "weight"]
    )
    table = found.table
    assert set(table["model"]) == {"forest", "KNeighborsClassifier", "RidgeClassifier", "DummyClassifier"}
    of = table[(table["observable"] == "all") & (table["level"] == "network")].set_index("model")["mean"]
    assert of["DummyClassifier"] == 0.5
    assert of["forest"] > 0.5
    assert found.confusion.to_numpy().sum() > 0
    assert isinstance(found.plot(), Figure)
    assert type(found.to_dict()) is dict
    named = rs.evaluate(examples, models=["forest"], features=["levels"], n_splits=2)
    same = named.table.query("observable == 'all' and level == 'network'")["mean"].item()
    assert same == of["forest"]


def test_what_is_no_classifier_and_two_of_a_kind_are_a_sentence(examples: rs.Examples) -> None:
    with pytest.raises(rs.RequestError, match="StandardScaler is not a classifier"):
        rs.evaluate(examples, models=[StandardScaler()])
    with pytest.raises(rs.RequestError, match="two classifiers are called KNeighborsClassifier"):
        rs.evaluate(examples, models=[KNeighborsClassifier(1), KNeighborsClassifier(2)], features=["levels"])


def test_only_some_rules(examples: rs.Examples) -> None:
    assert rs.evaluate(examples, models=["forest"], rules=["sgdm", "adam"], n_splits=2)["chance"] == 0.5
    with pytest.raises(rs.RequestError, match="no network has the rule fa; known: adam, sgdm"):
        rs.evaluate(examples, models=["forest"], rules=["sgdm", "fa"])


@pytest.mark.parametrize("split", ["scenario", "strict", "architecture"])
def test_a_split_works_in_scikit_learns_cross_validation(examples: rs.Examples, split: str) -> None:
    cv = rs.Split(split, n_splits=3)
    found = cross_validate(
        ExtraTreesClassifier(20, random_state=0), examples.X.fillna(0), examples.y, groups=examples.groups, cv=cv
    )
    count = 2 if split == "architecture" else 3
    assert len(found["test_score"]) == cv.get_n_splits(groups=examples.groups) == count
    from classifier.examples.splits import labels, make

    folds = make(examples.identity, labels(examples.identity, "rule"), split, 3)
    for fold, (train, test) in zip(folds, cv.split(examples.X, groups=examples.groups), strict=True):
        assert (fold.train == train).all()
        assert (fold.test == test).all()
    with pytest.raises(ValueError, match=r"give it groups=examples.groups"):
        next(cv.split(examples.X))


def test_train_predict_and_importance(place: Path, examples: rs.Examples, tmp_path: Path) -> None:
    card = rs.train(examples, tmp_path / "m", features=["levels"], refits=2)
    assert card.model == "forest"
    called = rs.predict(tmp_path / "m", place)
    assert list(called) == ["network_id", "labelled", "called", "score_adam", "score_sgdm"]
    found = rs.importance(tmp_path / "m", by="statistic", top=5)
    assert len(found.table) == 5
    assert found.plot().axes[0].get_xlabel() == "loss of log score when its trajectories are permuted (nats)"
    assert len(found.to_dict()["rows"]) == 5
    refitted = rs.importance(tmp_path / "m", by="observable", method="refit").plot()
    assert refitted.axes[0].get_xlabel() == "loss of log score when it is trained again without (nats)"


def test_one_s_own_measurements_need_no_rule(examples: rs.Examples, tmp_path: Path) -> None:
    names = [name for name in examples.statistics if name.startswith("activation")]
    known = rs.Examples.from_arrays(
        examples.select(names).values,
        names,
        networks=examples.identity["network_id"].tolist(),
        rules=examples.y.tolist(),
    )
    assert known.identity["depth"].tolist() == examples.identity["depth"].tolist()
    assert (known.y == examples.y).all()
    rs.train(examples, tmp_path / "m", observables=["activation"], features=["levels"], refits=0)
    unknown = rs.Examples.from_arrays(known.values, names, networks=examples.identity["network_id"].tolist())
    called = rs.predict(tmp_path / "m", unknown)
    assert "labelled" not in called
    pd.testing.assert_series_equal(called["called"], rs.predict(tmp_path / "m", examples)["called"])
    with pytest.raises(rs.RequestError, match="rules of these examples are not known"):
        unknown.y  # noqa: B018


@pytest.mark.parametrize(
    ("values", "statistics", "more", "sentence"),
    [
        (np.ones((2, 3)), ["activation_abs_mean"], {}, r"must be \(examples, sessions, statistics\)"),
        (np.ones((2, 3, 2)), ["activation_abs_mean"], {}, "with 1 statistics, not of shape"),
        (np.ones((2, 3, 1)), ["mean"], {}, "name it like activation_abs_mean"),
        (np.ones((2, 3, 1)), ["activation_abs_mean"], {"rules": ["sgdm"]}, "rules has 1 entries for 2 examples"),
        (np.ones((2, 3, 1)), ["activation_abs_mean"], {"curves": np.ones((2, 3))}, "curves must be of shape"),
    ],
)
def test_measurements_that_do_not_fit_are_a_sentence(
    values: np.ndarray, statistics: list[str], more: dict, sentence: str
) -> None:
    with pytest.raises(rs.RequestError, match=sentence):
        rs.Examples.from_arrays(values, statistics, **more)


def test_controls_and_power_answer(place: Path) -> None:
    controls = rs.controls(place, n_splits=2)
    assert "headline" in controls.table["control"].to_list()
    assert isinstance(controls.plot(), Figure)
    power = rs.power(place, units=8, noise=0.25, sessions=3)
    assert 0 < power.table["expected"].item() <= 1
    assert isinstance(power.plot(), Figure)


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(tomli_w.dumps(SPEC | {"name": "x"}))
    script = 'import rulescope as rs\nprint("once", __file__)\nfound = rs.generate("x.toml", workers=2)\n'
    script += "print(found.states(), __file__)\n"
    (tmp_path / "script.py").write_text(script)
    found = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    here = tmp_path / "script.py"
    assert found.stdout.splitlines() == [f"once {here}", f"{{'complete': 48}} {here}"]


class Secret(DummyClassifier):
    """A classifier of a reader's own, which no stored model may hold."""


def test_a_classifier_of_one_s_own_is_kept_if_it_can_be(
    examples: rs.Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ExtraTreesClassifier(20, max_depth=4, class_weight={0: 1, 1: 2}, random_state=0)
    card = rs.train(examples, tmp_path / "own", model=own, features="levels", refits=0)
    assert (card.model, card.parameters["max_depth"]) == ("ExtraTreesClassifier", 4)
    assert card.parameters["class_weight"] == "{0: 1, 1: 2}"
    assert set(rs.predict(tmp_path / "own", examples)["called"]) <= {"sgdm", "adam"}
    monkeypatch.setattr("classifier.studies.train.choose", None)  # it is said before any training
    with pytest.raises(rs.RequestError, match=r"this model cannot be kept: .*Secret.*not on the allow-list"):
        rs.train(examples, tmp_path / "secret", model=Secret())


def test_a_dataset_of_its_name_does_not_hide_a_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert rs.plan("demo").networks == 656


@pytest.mark.usefixtures("registries")
def test_the_examples_of_the_docstrings_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of work, in a folder with the dataset that they name."""
    shutil.copytree(place, tmp_path / "datasets" / "demo")
    (tmp_path / "datasets" / "demo.toml").write_text(tomli_w.dumps(SPEC | {"name": "demo"}))
    page = Path(__file__).parents[1] / "docs" / "your-own.md"
    (tmp_path / "my_rule.py").write_text(
        page.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    )
    monkeypatch.chdir(tmp_path)
    finder, shown = doctest.DocTestFinder(recurse=False), set()
    for name in (*WITH_EXAMPLES, "noise_of", "names"):
        (example,) = finder.find(getattr(rs, name), name, globs={"rs": rs})
        assert example.examples, f"rs.{name} has no example"
        runner = doctest.DocTestRunner(verbose=False)
        runner.run(example)
        assert runner.failures == 0, capsys.readouterr().out
        shown.add(name)
    assert shown == {name for name in rs.__all__ if name.islower() and not name.startswith("_")}


def test_every_name_that_can_be_given_has_a_meaning() -> None:
    """A new rule, observable, feature or model is listed of itself; its docstring, or its line, says what it is."""
    found = rs.names()
    assert list(found.columns) == ["kind", "name", "meaning"]
    assert (found["meaning"].str.len() >= len("No noise")).all()
    assert not found.duplicated(["kind", "name"]).any()
    named = {kind: set(rows["name"]) for kind, rows in found.groupby("kind")}
    assert set(TRANSFORMS) == named["features"]
    assert set(MODELS) == named["models"]
    assert set(MODES) == named["noise"]
    assert {*OBSERVABLES, *SETS} == named["observables"]
    assert {*ALIASES, "pathway+update"} == named["rules"]
    meanings = rs.names("features").set_index("name")["meaning"]
    assert meanings["difference"] == "x_t − x_{t−1}, from the second checkpoint on"
    with pytest.raises(rs.RequestError, match=r"unknown kind of names 'feature' .did you mean 'features'"):
        rs.names("feature")


def test_a_recording_is_asked_of_as_it_is(examples: rs.Examples, tmp_path: Path) -> None:
    """Statistics by their names, an area a layer, and what it was measured with."""
    rs.train(examples, tmp_path / "m", observables=["activation"], refits=0)
    arrays = np.random.default_rng(0).random((examples.checkpoints, 30, 12))
    recording = rs.Recording({"V1": arrays, "V4": 2 * arrays}, name="mouse 1")
    found = rs.Examples.from_recording(recording)
    assert found.identity["layer"].tolist() == ["V1", "V4"]
    assert found.electrode == "units12"
    assert {one.observable for one in found.statistics.values()} >= {"activation", "step", "population", "coupling"}
    assert examples.statistics["activation_abs_mean"] == found.statistics["activation_abs_mean"]
    at = list(found.statistics).index("activation_abs_mean")
    np.testing.assert_allclose(found.values[0, :, at], arrays.mean((1, 2)), rtol=1e-5)
    named = rs.predict(tmp_path / "m", recording)
    pd.testing.assert_frame_equal(named, rs.predict(tmp_path / "m", found))
    assert (named["network_id"].tolist(), set(named["called"]) <= set(examples.y)) == ([recording.network_id], True)
    by_area = rs.predict(tmp_path / "m", recording, level="layer")
    assert by_area["layer"].tolist() == ["V1", "V4"]
    rs.train(examples, tmp_path / "w", observables=["weight"], refits=0)
    with pytest.raises(rs.RequestError, match="lacks"):
        rs.predict(tmp_path / "w", recording)
