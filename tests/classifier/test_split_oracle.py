"""The demo, judged by the project and by an oracle that shares no code with it: the same accuracies within error.

The oracle knows the paper's statistics, so the demo is made with these alone.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import evaluate
from split_oracle import scenario_accuracy, untrained_accuracy

from classifier.examples.scenarios import SEEDS, Sharing, columns
from classifier.examples.trajectories import load
from classifier.studies.intervals import corrected
from generator.running.generate import generate
from generator.spec.spec import of

SPEC = Path(__file__).parents[2] / "datasets" / "demo.toml"
SPLITS = 5

pytestmark = [
    pytest.mark.usefixtures("whole_forests"),
    pytest.mark.slow,
    pytest.mark.unchecked,
    pytest.mark.timeout(1500),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's dataset, made anew: one and a half minutes of a core."""
    location = tmp_path_factory.mktemp("demo") / "demo"
    spec = tomllib.loads(SPEC.read_text(encoding="utf-8")) | {"observables": ["paper"]}
    generate(of(spec), location, workers=0, device="cpu")
    return location


def test_the_headline_is_what_the_oracle_finds(demo: Path) -> None:
    found = evaluate(demo, ["forest"], ["logdifference+shape"], ["all"], n_splits=SPLITS)
    ours, theirs = found["models"]["forest"]["all"]["network"], corrected(scenario_accuracy(demo, SPLITS, 0), 1 / 3)
    assert abs(ours["mean"] - theirs["mean"]) < 2 * np.hypot(ours["sem"], theirs["sem"])
    assert ours["mean"] > 0.9


def test_networks_that_have_learned_nothing_are_at_chance(demo: Path) -> None:
    """Exactly where every scenario holds every rule with every seed; three networks of the demo diverge."""
    options: dict[str, Any] = {"features": ["levels"], "observables": ["all"], "sampling": "only0"}
    examples = load(demo)
    found = evaluate(examples, ["xgboost", "logistic"], n_splits=SPLITS, **options)
    for scores in found["models"].values():
        assert scores["all"]["network"]["mean"] == pytest.approx(0.25, abs=0.005)
    assert untrained_accuracy(demo, SPLITS, 0) == pytest.approx([0.25] * SPLITS, abs=0.01)

    alike = [*columns("rule"), *SEEDS]
    rules = examples.identity.groupby(alike, dropna=False)["rule"].transform("nunique")
    whole = examples.rows((rules == 4).to_numpy())
    assert whole.identity["network_id"].nunique() == 656 - 3 * 4
    assert Sharing.of(whole.identity, "rule").sentence == ""
    for split in ("scenario", "strict", "architecture", "task"):
        found = evaluate(whole, ["xgboost"], split=split, n_splits=SPLITS, **options)
        for fold in found["folds"].values():
            assert fold["network"] == pytest.approx(0.25, abs=1e-12)
