"""A known trace is found, permuted labels give chance, and the report has the promised keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asked import evaluate
from scipy.special import log_softmax
from synthetic import RULES, grid, write

from classifier import api
from classifier.examples.splits import INNER_FOLDS, Fold
from classifier.examples.trajectories import load
from classifier.models.estimators import MODELS, Recipe
from classifier.models.trust import calibration_error, log_loss
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


Said = tuple[evaluation.Problem, list[Fold], list[evaluation.Score], list[np.ndarray]]


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Said]:
    """Layers that see their class in noise and are three times as sure as they may be, on a split; and what they may say."""
    rates = [round(1.05**one, 6) for one in range(40)]
    examples = load(write(tmp_path_factory.mktemp("sure") / "d", grid(("sgdm", "fa"), learning_rates=rates, seeds=1)))
    problem = evaluation.Problem.of(examples, "rule", ["levels"])
    seen = np.random.default_rng(0).normal(np.eye(2)[problem.codes])
    honest = log_softmax(seen, axis=1)

    def on(split: str) -> Said:
        folds = Study(split=split, n_splits=3).folds(examples.identity)
        scores = [evaluation.score(problem, fold.test, 3 * honest[fold.test]) for fold in folds]
        return problem, folds, scores, [honest[fold.test] for fold in folds]

    return on


@pytest.mark.parametrize("split", ["scenario", "architecture"])
def test_probabilities_are_what_they_say_after_calibration(sure: Callable[[str], Said], split: str) -> None:
    """A network's are of its layers together: they see apart, so the sum of what each may say is what all may."""
    problem, folds, scores, honest = sure(split)
    found = evaluation.believed(problem, split, folds, scores)
    assert found is not None
    codes, networks = (np.concatenate([of[fold.test] for fold in folds]) for of in (problem.codes, problem.networks))
    where = np.concatenate([np.full(len(fold.test), number) for number, fold in enumerate(folds)])
    frame = pd.DataFrame(np.concatenate(honest)).assign(split=where, network=networks, code=codes)
    whole = frame.groupby(["split", "network", "code"]).sum().reset_index()
    for level, logs in (("layer", frame), ("network", whole)):
        one, may = found[level], log_loss(logs[[0, 1]].to_numpy(), logs["code"].to_numpy())
        assert one["log_loss"] == pytest.approx(may, abs=0.01)
        assert 0.86 < one["coverage"] < 0.94
        assert 1 <= one["size"] < 2
        assert sum(part["count"] for part in one["reliability"]) == len(logs)
    assert found["layer"]["log_loss_raw"] > found["layer"]["log_loss"] + 0.15
    known = frame["code"].to_numpy()
    assert found["layer"]["calibration_error"] < 0.5 * calibration_error(3 * frame[[0, 1]].to_numpy(), known)


@pytest.mark.parametrize("split", ["scenario", "architecture"])
def test_calibration_is_never_on_networks_of_the_same_scenario_or_value(
    sure: Callable[[str], Said], split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, folds, scores, _ = sure(split)
    seen: list[np.ndarray] = []
    original = evaluation.crossed

    def spy(said: Any, codes: Any, fold: np.ndarray, draws: Any) -> Any:
        seen.append(fold)
        return original(said, codes, fold, draws=draws)

    monkeypatch.setattr(evaluation, "crossed", spy)
    evaluation.believed(problem, split, folds, scores)
    identity = problem.examples.identity.iloc[np.concatenate([fold.test for fold in folds])]
    held_out = ["architecture"] if split == "architecture" else ["architecture", "task", "learning_rate"]
    assert identity.assign(fold=seen[1]).groupby(held_out)["fold"].nunique().max() == 1
    assert len(np.unique(seen[1])) == (2 if split == "architecture" else 5)


def test_nothing_is_said_of_probabilities_where_few_scenarios_were_tested(traced: Path) -> None:
    found = evaluate(traced, ["forest"], ["shape"], ["all"], n_splits=1)
    assert found["trust"] is None
    answer = api.Evaluation(found)
    assert answer.trust.empty
    with pytest.raises(RequestError, match="too few scenarios"):
        answer.plot("reliability")
    with pytest.raises(RequestError, match="unknown picture 'layers'"):
        answer.plot("layers")


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
