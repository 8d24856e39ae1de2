"""A known trace is found, permuted labels give chance, and the report has the promised keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import evaluate
from synthetic import RULES, grid, write

from classifier.examples.splits import INNER_FOLDS, Fold
from classifier.examples.trajectories import load
from classifier.models.estimators import MODELS, Recipe
from classifier.studies import evaluate as evaluation
from classifier.studies.evaluate import balanced_accuracy
from classifier.studies.study import Study
from generator.errors import RequestError


@pytest.fixture(scope="module")
def found(traced: Path) -> dict[str, Any]:
    return evaluate(traced, features=["relative", "shape"], n_splits=2, permute_labels=20)


def test_every_model_finds_the_trace_per_network(found: dict[str, Any]) -> None:
    assert set(found["models"]) == set(MODELS)
    assert (
        found["models"]["layers"]["weight"]["network"]["mean"] > 0.8
    )  # it learns from networks, of which there are few
    for scores in (scores for name, scores in found["models"].items() if name != "layers"):
        assert scores["all"]["network"] == {"mean": 1.0, "sem": 0.0, "reach": 0.0, "low": 1.0, "high": 1.0}
        assert scores["weight"]["network"]["mean"] == 1.0


def test_what_does_not_carry_the_trace_stays_near_chance(found: dict[str, Any]) -> None:
    assert found["chance"] == 0.25
    for scores in found["models"].values():
        for observable in ("activation", "change", "curves"):
            assert scores[observable]["network"]["mean"] < 0.5


def test_permuted_labels_give_chance(found: dict[str, Any]) -> None:
    permuted = found["permuted"]
    assert abs(permuted["mean"] - found["chance"]) < 2 * permuted["sem"]
    assert permuted["sem"] < 0.05


def test_the_report_has_the_promised_keys_and_is_json(found: dict[str, Any]) -> None:
    again = json.loads(json.dumps(found))
    assert again == found
    assert {"split", "target", "chance", "selected", "models", "permuted"} <= set(found)
    assert {"model", "features"} <= set(found["selected"])
    assert found["selected"]["features"] in ("relative", "shape")
    for scores in found["models"].values():
        assert list(scores) == ["all", "weight", "activation", "change", "curves"]
        for by_level in scores.values():
            assert {level: set(values) for level, values in by_level.items()} == {
                "layer": {"mean", "sem", "reach", "low", "high"},
                "network": {"mean", "sem", "reach", "low", "high"},
            }
    tested_per_class = 3 * 2  # a quarter of 12 scenarios, two seeds
    assert found["confusion"]["labels"] == sorted(RULES)
    assert found["confusion"]["counts"] == (2 * tested_per_class * np.eye(4, dtype=int)).tolist()


def test_equal_seeds_give_equal_reports(traced: Path) -> None:
    one, two = (evaluate(traced, ["forest"], ["shape"], ["all"], n_splits=1, permute_labels=2) for _ in range(2))
    assert one == two


def test_selection_reads_no_test_score(traced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is scored, the rows of a split's test part are never among those read by the choice of settings."""
    examples = load(traced)
    seen: list[set[int]] = []
    original = evaluation.fit_and_score_all

    def spy(problem: Any, recipe: Recipe, settings: Any, observable: str, fold: Fold) -> Any:
        seen.append({*fold.train, *fold.test})
        return original(problem, recipe, settings, observable, fold)

    classes = evaluation.splitting.labels(examples.identity, "rule")
    part = evaluation.splitting.make(examples.identity, classes, "scenario", 1)[0]
    problem = evaluation.Problem.of(examples, "rule", ["relative", "shape"])
    monkeypatch.setattr(evaluation, "fit_and_score_all", spy)
    evaluation.choose(problem, Recipe("forest"), Study().inner_folds(problem, part.train).folds)
    assert len(seen) == INNER_FOLDS * (2 + 1)  # the usual forest on each feature set, then the other kind
    assert all(rows == set(part.train) for rows in seen)


def test_a_held_out_property_has_a_fold_per_value(traced: Path) -> None:
    found = evaluate(traced, ["forest"], ["relative"], ["all"], split="architecture")
    assert set(found["folds"]) == {"mlp2", "mlp3"}
    assert found["models"]["forest"]["all"]["network"]["mean"] == 1.0


def test_other_targets(traced: Path) -> None:
    found = evaluate(traced, ["forest"], ["relative"], ["all"], target="pathway", n_splits=1)
    assert found["confusion"]["labels"] == ["bp", "fa", "ia"]
    assert found["chance"] == pytest.approx(1 / 3)


def test_the_accuracy_curve_alone_is_seen_when_it_gives_the_rule_away(tmp_path: Path) -> None:
    def curve(network: Mapping[str, Any]) -> np.ndarray:
        return np.full(3, list(RULES).index(network["rule"]))

    examples = load(write(tmp_path / "d", grid(seeds=1), curve=curve))
    found = evaluate(examples, ["forest"], ["shape"], ["change"], n_splits=1)
    assert found["models"]["forest"]["curves"]["network"]["mean"] == 1.0
    assert "all" not in found["models"]["forest"]


def test_what_is_measured_and_when_decides_what_is_found(measured: Path) -> None:
    options: dict[str, Any] = {"models": ["forest"], "features": ["shape"], "observables": ["weight"], "n_splits": 4}
    deaf = evaluate(measured, electrode="units4_relative0.5", **options)
    assert (deaf["electrode"], deaf["sampling"]) == ("units4_relative0.5", "all")
    assert deaf["models"]["forest"]["weight"]["network"]["mean"] < 0.6
    late = evaluate(measured, electrode="units2", sampling="last5", **options)
    assert late["models"]["forest"]["weight"]["network"]["mean"] == 1.0
    early = evaluate(measured, electrode="units2", sampling="first3", **options)  # only sgdm's peak is there to see
    assert (early["sampling"], early["confusion"]["labels"][3]) == ("first3", "sgdm")
    assert np.array(early["confusion"]["counts"])[3].tolist() == [0, 0, 0, 4 * 6]
    assert early["models"]["forest"]["weight"]["network"]["mean"] == pytest.approx((1 + 3 * 1 / 3) / 4, abs=0.12)


def test_a_single_checkpoint_is_seen_as_its_levels_by_every_model(measured: Path) -> None:
    found = evaluate(measured, observables=["all"], n_splits=1, sampling="only1")
    assert found["selected"]["features"] == "levels"
    assert all(set(chosen) == {"levels"} for chosen in found["chosen"].values())


def test_balanced_accuracy_averages_recall_over_the_classes_there() -> None:
    truth, called = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 2])
    assert balanced_accuracy(truth, called) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": ["forst"]}, "unknown model 'forst'"),
        ({"features": ["relativ"]}, "unknown feature transform 'relativ'"),
        ({"observables": ["weights"]}, "unknown observable 'weights'"),
        ({"split": "layer"}, "unknown split 'layer'"),
        (
            {"inner": "domains"},
            "unknown inner folds 'domains' .did you mean 'domain'",
        ),
        ({"target": "colour"}, "unknown target 'colour'"),
        ({"models": []}, "at least one model"),
        ({"electrode": "units30"}, "unknown electrode 'units30'"),
        ({"sampling": "sessions9"}, "of 6 checkpoints, sessions1 to sessions6"),
        ({"sampling": "nine"}, "'nine' is not the name of a sampling"),
    ],
)
def test_wrong_names_are_a_sentence(traced: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        evaluate(traced, **wrong)
