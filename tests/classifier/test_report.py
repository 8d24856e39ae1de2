"""A report is complete, its pictures are pictures, and it copies into a README."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from synthetic import grid, write
from typer.testing import CliRunner

from classifier.examples.gaps import gaps, progress
from classifier.examples.trajectories import load
from classifier.report import looks, plots
from classifier.report.report import BEGIN, END, PICTURES, _summary, copy_into_readme, report
from classifier.report.tables import basis, confusion_title, final_accuracy_rows, importance_rows, usual_rate
from classifier.studies import evaluate as evaluation
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from rulescope import command_line


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with its report, made from one model and one split to be quick."""
    location = write(tmp_path_factory.mktemp("reported") / "demo", grid(seeds=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("classifier.report.report.FEATURES", ("relative",))
        patch.setattr("classifier.report.report.N_SPLITS", 2)
        report(location, permute_labels=2, models=["forest"])
    return location


def test_the_report_holds_everything_promised(reported: Path) -> None:
    folder = reported / "report"
    headline = json.loads((folder / "evaluation.json").read_text())
    assert headline["split"] == "scenario"
    assert [one["split"] for one in json.loads((folder / "splits.json").read_text())] == [
        "architecture",
        "task",
        "paper",
    ]
    assert [one["seed"] for one in json.loads((folder / "seeds.json").read_text())] == [1, 2]
    results = (folder / "results.md").read_text()
    for text in (
        "Accuracy per network",
        "Accuracy per layer",
        "loss and accuracy curves alone",
        "held-out task",
        "clusters of statistics on which the forest relies most",
        "trained again without",
        "| seed of the splits | 0 | 1 | 2 |",
        "leaks",
        "Median final probe accuracy",
        "With permuted labels it scores 0.",
        ", s.e.m. 0.",
        "| sgdm |",
        "weight_abs_mean",
        "### Networks by true and named class (forest, all observables; "
        "counts over 2 splits; a network counts each time it is tested)\n\n| true, named | adam | fa | ia | sgdm |",
        *(f"({name}.png)" for name in PICTURES),
    ):
        assert text in results
    for name in (*PICTURES, "curves"):
        content = (folder / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 100_000
        assert b"<svg" in (folder / f"{name}.svg").read_bytes()


def test_every_heading_is_above_what_it_names(reported: Path) -> None:
    parts = (reported / "report" / "results.md").read_text().split("\n### ")[1:]
    pictures = {name: [part for part in parts if f"({name}.png)" in part] for name in PICTURES}
    assert {name: len(found) for name, found in pictures.items()} == dict.fromkeys(PICTURES, 1)
    assert pictures["confusion"][0].startswith("Networks by true and named class")
    assert pictures["accuracy"][0].startswith("Accuracy per network")
    assert pictures["importance"][0].startswith("The 10 clusters")


def texts(picture: Path) -> str:
    """The words of an SVG: matplotlib writes them as comments beside their outlines."""
    return " ".join(re.findall(r"<!-- (.*?) -->", picture.read_text(), re.DOTALL))


def test_every_picture_says_on_what_it_rests(reported: Path) -> None:
    folder = reported / "report"
    assert "48 networks, 2 splits" in texts(folder / "accuracy.svg")
    assert "forest, scenario split; 48 networks" in texts(folder / "confusion.svg")
    assert "counts over 2 splits; a network counts each time it is tested" in texts(folder / "confusion.svg")
    trained = json.loads((folder / "model" / "card.json").read_text())["networks"]
    assert f"trained on {trained} networks, measured on {48 - trained} others" in texts(folder / "importance.svg")
    assert re.search(r"learning rate × 1: \d+ networks", texts(folder / "trajectories.svg"))
    assert "rule (networks)" in texts(folder / "trajectories.svg")
    assert "48 networks" in texts(folder / "curves.svg")


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
    best = [["knet4", "digits", "0.800"], ["mlp2", "digits", "0.600"]]
    assert final_accuracy_rows(networks, best=True) == [["architecture", "task", "sgdm"], *best]
    assert usual_rate(networks) == "the learning-rate multiplier nearest 1 (1, 12)"
    assert usual_rate(networks[:2]) == "learning-rate multiplier 1"


def test_of_more_rules_than_architectures_and_tasks_there_is_a_row_per_rule() -> None:
    networks = table(
        architecture="mlp2",
        task=["digits", "digits", "photos", "photos"],
        curriculum=["digits", "digits", "photos", "photos"],
        rule=["fa", "sgdm", "ia", "sgdm"],
        learning_rate=1.0,
        final_probe_accuracy=[0.5, 0.6, 0.7, 0.8],
    )
    assert final_accuracy_rows(networks) == [
        ["rule", "mlp2, digits", "mlp2, photos"],
        ["fa", "0.500", "–"],
        ["ia", "–", "0.700"],
        ["sgdm", "0.600", "0.800"],
    ]


def test_an_unfinished_dataset_says_how_far_it_is(tmp_path: Path) -> None:
    networks = grid(seeds=1)
    dataset = Dataset(write(tmp_path / "d", networks))
    assert progress(dataset) == ""
    dataset.remove("networks/b.parquet")
    assert progress(dataset) == f"{len(networks) // 2} of {len(networks)} networks"
    headline = {"networks": 24, "examples": 72, "selected": {"model": "svm", "features": "shape"}}
    headline |= {"permuted": None, "chance": 0.5, "design": ""}
    headline |= {"inner": {"held_out": {"scenario": 10}, "sentence": "", "score": 0.5, "beside": []}}
    assert _summary(headline, []).startswith("24 networks, 72 layers.")
    lacks = gaps(dataset, "rule")
    assert lacks == ["The dataset is not finished: 24 of 48 networks."]
    assert _summary(headline, lacks).startswith("The dataset is not finished: 24 of 48 networks. 24 net")
    assert basis(23, 10, "24 of 48 networks") == "23 networks (not finished: 24 of 48 networks), 10 splits"


def test_a_class_that_is_missing_is_said_where_accuracies_are(tmp_path: Path) -> None:
    networks = grid(architectures=["mlp2"], seeds=1)
    lost = {one["network_id"]: "diverged" for one in networks if one["rule"] == "fa"}
    lost[next(one["network_id"] for one in networks if one["rule"] == "ia")] = "diverged"
    place = write(tmp_path / "d", networks, statuses=lost, layers=1)
    assert gaps(Dataset(place), "rule") == ["fa: none of 6 complete."]
    assert gaps(Dataset(place), "update") == []
    asked = [
        "evaluate",
        str(place),
        "--models",
        "forest",
        "--features",
        "levels",
        "--observables",
        "all",
        "--n-splits",
        "1",
        "--json",
        str(tmp_path / "x.json"),
    ]
    forest = ["--model", "forest", "--features", "levels", "--refits", "0"]
    for command in (
        asked,
        ["train", str(place), "--out", str(tmp_path / "m"), *forest],
        ["robustness", str(place), "--n-splits", "1"],
    ):
        shown = CliRunner().invoke(command_line(), command, catch_exceptions=False)
        assert "fa: none of 6 complete." in shown.stdout, command[0]
    assert json.loads((place / "report" / "robustness" / "conditions.json").read_text())["gaps"] == [
        "fa: none of 6 complete."
    ]
    assert json.loads((tmp_path / "x.json").read_text())["gaps"] == ["fa: none of 6 complete."]


def test_counts_of_one_split_are_no_sums() -> None:
    evaluation = {"selected": {"model": "svm"}, "folds": {"0": {}}}
    assert confusion_title(evaluation) == "Networks by true and named class (svm, all observables; of one split)"


def test_nothing_is_minus_zero() -> None:
    row = {"members": "a", "name": "a", "importance": -0.0001, "sem": 0.01, "accuracy_drop": -0.0004}
    assert importance_rows(pd.DataFrame([row]), pd.DataFrame([row]))[1][2:] == ["0.000 ± 0.010 (0.000)"] * 2


def test_it_is_copied_between_the_markers_and_again(reported: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{BEGIN}\nan older one\n{END}\nend\n")
    copy_into_readme(readme, reported)
    once = readme.read_text()
    assert once.startswith(f"# Title\n{BEGIN}\n\n")
    assert once.endswith(f"{END}\nend\n")
    assert "an older one" not in once
    assert (tmp_path / "pictures" / "accuracy.png").is_file()
    assert "](pictures/accuracy.png)" in once
    copy_into_readme(readme, reported)
    assert readme.read_text() == once


def test_a_report_without_a_picture_is_copied_without_it(reported: Path, tmp_path: Path) -> None:
    """As that of few scenarios, of whose probabilities nothing is said."""
    report = tmp_path / "d" / "report"
    report.mkdir(parents=True)
    (report / "results.md").write_text("![one](accuracy.png)")
    (report / "accuracy.png").write_bytes((reported / "report" / "accuracy.png").read_bytes())
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    copy_into_readme(readme, tmp_path / "d")
    assert [one.name for one in (tmp_path / "pictures").iterdir()] == ["accuracy.png"]


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
    assert figure.axes[0].get_ylabel() == "weight_abs_mean\nchange since start (%)"
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    peak = {"sgdm": 1, "adam": 2, "fa": 3, "ia": 4}
    for rule, step in peak.items():
        line = lines[f"{rule} (12)"]
        np.testing.assert_allclose(line.get_ydata(), 900 * (np.arange(6) == step), atol=1e-3)
        assert line.get_color() == looks.RULES[rule].color


def test_a_statistic_that_starts_near_zero_is_drawn_as_a_difference(reported: Path) -> None:
    examples = load(reported)
    values, name = examples.values.copy(), "weight_abs_mean"
    column = list(examples.statistics).index(name)
    deep = (examples.identity["layer"] == "fc3").to_numpy()
    first = 1e-6 * (-1.0) ** np.arange(deep.sum())  # of either sign
    values[deep, :, column] = first[:, None] + np.arange(6)
    figure = plots.trajectories(
        replace(examples, values=values), examples.identity["rule"].to_numpy(dtype=str), [name], "here"
    )
    assert figure.axes[0].get_ylabel() == f"{name}\ndifference from start"
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), np.arange(6), atol=1e-5)


def test_what_is_undefined_at_the_start_is_drawn_itself(reported: Path) -> None:
    examples = load(reported)
    values, name = examples.values.copy(), "weight_abs_mean"
    column = list(examples.statistics).index(name)
    values[:, :, column] = [np.nan, 5, 4, 3, 2, 1]
    values[(examples.identity["layer"] == "fc3").to_numpy(), :, column] = np.nan
    figure = plots.trajectories(
        replace(examples, values=values), examples.identity["rule"].to_numpy(dtype=str), [name], "here"
    )
    assert figure.axes[0].get_ylabel() == f"{name}\nvalue"
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [np.nan, 5, 4, 3, 2, 1])
    assert [text.get_text() for text in figure.axes[2].texts] == ["undefined"]


@pytest.mark.parametrize(
    ("start", "change", "ratio"),
    [
        ([1.0, 2.0, 3.0], 1.0, True),
        ([-1.0, -2.0, -3.0], 1.0, True),
        ([-1.0, 2.0, 3.0], 1.0, False),  # of both signs
        ([0.0, 2.0, 3.0], 1.0, False),
        ([1e-3, 1e-3, 2.0, 3.0, 4.0], 1.0, False),  # some are nearly zero
        ([1.0, 2.0, 3.0], 1000.0, False),  # all are, beside what follows
        ([np.nan, 2.0, 3.0], 1.0, True),  # undefined
        ([np.nan, np.nan, np.nan], 1.0, True),
    ],
)
def test_which_changes_are_given_in_per_cent(start: list[float], change: float, ratio: bool) -> None:
    moved = np.array(start)[:, None] * 0 + np.array([[0.0, change]])
    assert plots._is_ratio(np.array(start), moved) is ratio


def test_a_colour_does_not_depend_on_which_rules_there_are(reported: Path) -> None:
    examples = load(reported)
    classes = examples.identity["rule"].to_numpy(dtype=str)
    fewer = classes != "adam"
    all_rules, three = (
        plots.trajectories(part, names, ["weight_abs_mean"], "here").axes[0].lines
        for part, names in ((examples, classes), (examples.rows(fewer), classes[fewer]))
    )
    before, after = (
        {line.get_label(): line.get_color() for line in lines if "(" in line.get_label()}
        for lines in (all_rules, three)
    )
    assert set(after) == set(before) - {"adam (12)"}
    assert {name: before[name] for name in after} == after


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0 %"), (0.0004, "0.04 %"), (0.004, "0.4 %"), (0.0096, "1 %"), (0.25, "25 %"), (0.996, "99.6 %"),
     (0.9999, "99.9 %"), (1, "100 %")],
)  # fmt: skip
def test_a_share_is_none_or_all_only_where_it_is(share: float, said: str) -> None:
    assert plots.percent(share) == said


def test_a_confusion_matrix_shows_shares_and_what_is_counted() -> None:
    figure = plots.confusion(np.array([[249, 1], [0, 0]]), ["sgdm", "$x$"], "here")
    assert [text.get_text() for text in figure.axes[0].texts] == ["99.6 %\n(249)", "0.4 %\n(1)", "0 %\n(0)", "0 %\n(0)"]
    plain = plots.confusion(np.array([[0.996, 0.004], [0, 1.0]]), ["sgdm", "fa"], "here", counted=False)
    assert [text.get_text() for text in plain.axes[0].texts] == ["99.6 %", "0.4 %", "0 %", "100 %"]


def test_a_bar_per_model_and_observable_as_high_as_the_score() -> None:
    scores = {level: {"mean": 0.8, "low": 0.7, "high": 0.9} for level in ("layer", "network")}
    both = {"all": scores, evaluation.CURVE: scores}
    figure = plots.accuracy({"forest": both, "svm": both}, 0.25, "network", "12 networks, 2 splits")
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.8] * 4
    colors = [to_hex(bar.get_facecolor(), keep_alpha=False).upper() for bar in figure.axes[0].patches]
    assert colors == [looks.observable(name).color for name in ("all", "all", "curves", "curves")]
    assert figure.axes[0].get_title().startswith("12 networks, 2 splits")


def test_an_observable_has_one_colour_in_every_picture() -> None:
    table = pd.DataFrame({"name": ["activation_x"], "importance": [1.0], "sem": [0.1], "size": [1]})
    (bar,) = plots.importance(table, {"weight_x": "weight", "activation_x": "activation"}, "here").axes[0].patches
    assert to_hex(bar.get_facecolor(), keep_alpha=False).upper() == looks.OBSERVABLES["activation"].color
