"""The commands as a person runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from synthetic import grid, write
from typer.testing import CliRunner

from classifier.cli import register
from generator.dataset.storage import Dataset
from generator.errors import RequestError

app = typer.Typer()
register(app)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_evaluate_prints_and_writes_json(traced: Path, tmp_path: Path) -> None:
    options = ["--models", "forest", "--features", "relative,shape", "--observables", "all", "--n-splits", 1]
    shown = run("evaluate", traced, *options, "--json", tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["models"]["forest"]["all"]["network"]["mean"] == 1.0
    assert "Accuracy per network" in shown
    assert "forest" in shown


def test_train_predict_and_importance(traced: Path, trained: Path, tmp_path: Path) -> None:
    shown = run("train", traced, "--model", "xgboost", "--features", "relative", "--out", tmp_path / "model")
    assert "network 1.000" in shown
    assert len(run("predict", tmp_path / "model", traced).splitlines()) == 96 + 1
    run("predict", trained, traced, "--level", "layer", "--out", tmp_path / "p.parquet")
    run("predict", trained, traced, "--out", tmp_path / "p.csv")
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == 3 * len(pd.read_csv(tmp_path / "p.csv")) == 288
    shown = run("importance", trained, "--by", "observable", "--json", tmp_path / "i.json")
    assert "weight" in shown.splitlines()[1]
    assert json.loads((tmp_path / "i.json").read_text())[0]["name"] == "weight"
    shown = run("importance", tmp_path / "model", "--method", "shap", "--top", 1, "--json", tmp_path / "s.json")
    assert "log odds" in shown.splitlines()[0]
    found = json.loads((tmp_path / "s.json").read_text())[0]
    assert shown.splitlines()[1].split() == [f"{found['importance']:.4f}", *found["members"].split()]


def test_a_model_of_what_an_experimenter_has(measured: Path, tmp_path: Path) -> None:
    seen = ["--electrode", "units2", "--sampling", "last5"]
    run("train", measured, "--features", "shape", *seen, "--observables", "weight", "--out", tmp_path / "m")
    own = run("predict", tmp_path / "m", measured)
    assert own == run("predict", tmp_path / "m", measured, *seen)
    assert own != run("predict", tmp_path / "m", measured, "--electrode", "full")
    options = ["--models", "forest", "--features", "shape", "--observables", "weight", "--n-splits", 1]
    run("evaluate", measured, *options, *seen, "--json", tmp_path / "r.json")
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["electrode"], found["sampling"]) == ("units2", "last5")


def test_robustness_and_controls_write_json(tmp_path: Path) -> None:
    data = write(tmp_path / "d", grid(architectures=["mlp2"], seeds=1), layers=1)
    shown = run("robustness", data, "--n-splits", 1, "--json", tmp_path / "r.json")
    assert "units is left out" in shown
    assert json.loads((tmp_path / "r.json").read_text())["conditions"][0]["electrode"] == "full"
    shown = run("controls", data, "--n-splits", 1, "--json", tmp_path / "c.json")
    assert "left out: architecture instead of rule" in shown
    assert json.loads((tmp_path / "c.json").read_text())["controls"][0]["control"] == "headline"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "DATASET", "--models", "forst"], "unknown model 'forst'"),
        (["evaluate", "nowhere"], "nowhere is not a dataset"),
        (["evaluate", "DATASET", "--json", "no/where/r.json"], "cannot write"),
        (["train", "DATASET", "--out", "m", "--features", "levls"], "unknown feature transform 'levls'"),
        (["predict", "nowhere", "DATASET"], "nowhere is not a model"),
        (["predict", "MODEL", "DATASET", "--out", "p.xls"], "must end in .parquet or .csv"),
        (["importance", "MODEL", "--by", "unit"], "unknown grouping 'unit'"),
        (
            ["importance", "MODEL", "--method", "gain"],
            "unknown importance method 'gain'; known: impurity, permutation, refit, shap",
        ),
        (
            ["importance", "MODEL", "--method", "shap"],
            r"\(forest\) has no shap importances; it has: permutation, refit, impurity",
        ),
        (
            ["importance", "MODEL", "--method", "impurity", "--by", "depth"],
            "'depth'; known: checkpoint, function, observable",
        ),
        (
            ["evaluate", "DATASET", "--seed", "4294967296"],
            "seed must be 0 or more and below 2147483648, not 4294967296",
        ),
        (["report", "DATASET", "--seed", "4294967296"], "seed must be 0 or more"),
        (["power", "MEASURED", "--seed", "4294967296"], "seed must be 0 or more"),
        (["report", "nowhere"], "nowhere is not a dataset"),
        (["robustness", "nowhere"], "nowhere is not a dataset"),
        (["robustness", "DATASET", "--model", "forst"], "unknown model 'forst'"),
        (["controls", "nowhere"], "nowhere is not a dataset"),
        (["controls", "DATASET", "--json", "no/where/c.json"], "cannot write"),
        (["evaluate", "DATASET", "--electrode", "units30"], "unknown electrode 'units30'.*known: full"),
        (["train", "DATASET", "--out", "m", "--sampling", "sessions9"], "sessions1 to sessions6 can be taken"),
        (["train", "DATASET", "--out", "m", "--observables", "weights"], "unknown observable 'weights'"),
    ],
)
def test_bad_requests_are_a_sentence(
    traced: Path, measured: Path, trained: Path, arguments: list[str], message: str
) -> None:
    paths = {"DATASET": str(traced), "MEASURED": str(measured), "MODEL": str(trained)}
    with pytest.raises(RequestError, match=message):
        CliRunner().invoke(app, [paths.get(one, one) for one in arguments], catch_exceptions=False)


def test_the_command_line_is_light_and_the_classifier_never_needs_torch(traced: Path) -> None:
    check = (
        "import sys, classifier.cli\n"
        "assert not {'numpy', 'sklearn', 'pandas', 'torch'} & set(sys.modules)\n"
        "from classifier.studies.evaluate import evaluate\n"
        "from classifier.studies.study import Study\n"
        f"evaluate({str(traced)!r}, ['svm', 'forest', 'xgboost'], Study(features=['relative'], n_splits=1), ['all'])\n"
        "import classifier.report.report\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("blocked", "arguments"),
    [
        ("report", ["report", "DATASET"]),
        ("report", ["curves", "DATASET"]),
        ("report", ["robustness", "DATASET"]),
        ("report/model", ["report", "DATASET"]),
        ("x", ["train", "DATASET", "--out", "DATASET/x/model"]),
        ("x", ["predict", "DATASET", "DATASET", "--out", "DATASET/x/p.csv"]),
        ("x", ["curves", "DATASET", "--out", "DATASET/x/c.pdf"]),
        ("x", ["evaluate", "DATASET", "--json", "DATASET/x/r.json"]),
        ("x", ["evaluate", "DATASET", "--json", "DATASET"]),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_read(
    blocked: str, arguments: list[str], traced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a file where a folder should be, or the other way round."""
    place = shutil.copytree(traced, tmp_path / "d", ignore=shutil.ignore_patterns("report"))
    (place / blocked).parent.mkdir(exist_ok=True)
    (place / blocked).write_text("mine")
    monkeypatch.setattr(Dataset, "map", None)
    with pytest.raises(RequestError, match=r"cannot write|is not a model: name a new directory"):
        CliRunner().invoke(app, [one.replace("DATASET", str(place)) for one in arguments], catch_exceptions=False)
    assert (place / blocked).read_text() == "mine"
