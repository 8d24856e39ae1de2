"""A report is complete, its pictures are pictures, and it copies into a README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import grid, write

from classifier.examples.trajectories import load
from classifier.report import plots
from classifier.report.report import BEGIN, END, PICTURES, _progress, _rate, copy_into_readme, report
from classifier.report.tables import final_accuracy_rows
from classifier.studies import evaluate as evaluation
from generator.dataset.storage import Dataset
from generator.errors import RequestError


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with its report, made from one model and one split to be quick."""
    location = write(tmp_path_factory.mktemp("reported") / "demo", grid(architectures=["mlp3"], seeds=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("classifier.report.report.FEATURES", ("relative",))
        patch.setattr("classifier.report.report.N_SPLITS", 2)
        report(location, permute_labels=2, models=["forest"])
    return location


def test_the_report_holds_everything_promised(reported: Path) -> None:
    folder = reported / "report"
    headline = json.loads((folder / "evaluation.json").read_text())
    assert headline["split"] == "scenario"
    assert [one["split"] for one in json.loads((folder / "splits.json").read_text())] == ["task", "network", "paper"]
    assert [one["seed"] for one in json.loads((folder / "seeds.json").read_text())] == [1, 2, 3, 4]
    results = (folder / "results.md").read_text()
    for text in (
        "Accuracy per network",
        "Accuracy per layer",
        "loss and accuracy curves alone",
        "held-out task",
        "clusters of statistics on which the forest relies most",
        "trained again without",
        "| seed of the splits | 0 | 1 | 2 | 3 | 4 |",
        "is biased",
        "leaks",
        "Median final probe accuracy",
        "With permuted labels",
        "| sgdm |",
        "weight_abs_mean",
        *(f"({name})" for name in PICTURES),
    ):
        assert text in results
    for name in PICTURES:
        content = (folder / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 100_000


def table(**columns: list[Any]) -> pd.DataFrame:
    known = {"objective": "supervised", "status": "complete"}
    return pd.DataFrame(known | columns)


def test_final_accuracies_are_of_the_rate_nearest_1_of_each_architecture() -> None:
    networks = table(
        architecture=["mlp2", "mlp2", "knet4", "knet4"],
        task=["digits"] * 4,
        curriculum=["digits"] * 4,
        rule=["sgdm"] * 4,
        learning_rate=[1.0, 2.0, 12.0, 24.0],
        final_probe_accuracy=[0.5, 0.6, 0.7, 0.8],
    )
    assert final_accuracy_rows(networks) == [
        ["architecture", "task", "sgdm"],
        ["knet4", "digits", "0.700"],
        ["mlp2", "digits", "0.500"],
    ]
    assert _rate(networks) == "the learning-rate multiplier nearest 1 (1, 12)"
    assert _rate(networks[:2]) == "learning-rate multiplier 1"


def test_an_unfinished_dataset_says_how_far_it_is(tmp_path: Path) -> None:
    networks = grid(seeds=1)
    dataset = Dataset(write(tmp_path / "d", networks))
    assert _progress(dataset, table(network_id=networks)) == ""
    assert (
        _progress(dataset, table(network_id=networks[:5]))
        == f"The dataset is not finished: 5 of {len(networks)} networks. "
    )


def test_it_is_copied_between_the_markers_and_again(reported: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{BEGIN}\nold\n{END}\nend\n")
    copy_into_readme(readme, reported)
    once = readme.read_text()
    assert once.startswith(f"# Title\n{BEGIN}\n\n")
    assert once.endswith(f"{END}\nend\n")
    assert "old" not in once
    assert (tmp_path / "pictures" / "accuracy.png").is_file()
    assert "](pictures/accuracy.png)" in once
    copy_into_readme(readme, reported)
    assert readme.read_text() == once


def test_a_readme_without_markers_or_a_dataset_without_report_is_a_sentence(reported: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(RequestError, match="must hold the markers"):
        copy_into_readme(tmp_path / "README.md", reported)
    with pytest.raises(RequestError, match=r"has no results\.md"):
        copy_into_readme(tmp_path / "README.md", tmp_path)


def test_trajectories_are_drawn_as_medians_of_the_relative_change(reported: Path) -> None:
    examples = load(reported)
    classes = examples.identity["rule"].to_numpy(dtype=str)
    figure = plots.trajectories(examples, classes, ["weight_abs_mean"], "here")
    assert [axes.get_title() for axes in figure.axes] == ["fc1", "fc2", "fc3"]
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    peak = {"sgdm": 1, "adam": 2, "fa": 3, "ia": 4}
    for rule, step in peak.items():
        np.testing.assert_allclose(lines[rule], 900 * (np.arange(6) == step), atol=1e-3)


def test_a_bar_per_model_and_observable_as_high_as_the_score() -> None:
    scores = {level: {"mean": 0.8, "low": 0.7, "high": 0.9} for level in ("layer", "network")}
    figure = plots.accuracy({"forest": {"all": scores, evaluation.CURVE: scores}}, 0.25)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.8, 0.8]
