"""In a sampled design the unit of the headline's split is shape × task, whatever the rates, decays, seeds and rules."""

from __future__ import annotations

import numpy as np
import pytest

import rulescope
from classifier.examples.scenarios import Sharing, scenarios
from classifier.examples.splits import Split
from classifier.examples.trajectories import Examples, load

SPEC = {
    "name": "s",
    "checkpoints": 2,
    "probe": 16,
    "sample": [
        {
            "shapes": 4,
            "networks": 3,
            "rule": ["sgdm", "fa"],
            "architecture": "mlp2",
            "width": {"log_uniform": [0.03, 0.06]},
            "task": {"family": ["mixture", "teacher"], "count": 6},
            "pixels": 8,
            "batch_size": 200,
            "epochs": 1,
            "learning_rate": {"log_uniform": [0.3, 1.0]},
            "weight_decay": {"log_uniform": [1e-5, 1e-3]},
        }
    ],
    "grid": [
        {
            "task": "mixture:0",
            "architecture": "mlp2",
            "rule": ["sgdm", "fa"],
            "pixels": 8,
            "epochs": 1,
            "batch_size": 200,
            "width": 0.02,
            "learning_rate": [0.3, 0.5, 1.0],
            "seeds": 2,
        }
    ],
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    place = tmp_path_factory.mktemp("drawn") / "s"
    rulescope.generate(SPEC, place, workers=0)
    return load(place)


def test_all_networks_of_a_shape_are_one_scenario_and_those_of_a_grid_go_by_their_rate(examples: Examples) -> None:
    identity, unit = examples.identity, scenarios(examples.identity, "rule")
    drawn = identity["sampled"].to_numpy()
    shape = identity[["task", "width"]].astype(str).agg(" ".join, axis=1).to_numpy()
    rate = identity["learning_rate"].to_numpy()
    assert drawn.sum() == 4 * 3 * 2 * 2  # shapes × networks × rules × layers
    assert len(np.unique(unit[drawn])) == len(np.unique(shape[drawn])) == 4
    for one in np.unique(unit[drawn]):
        assert len(np.unique(shape[unit == one])) == 1
        assert len(np.unique(rate[unit == one])) == 3
    assert len(np.unique(unit[~drawn])) == len(np.unique(rate[~drawn])) == 3
    assert not set(unit[drawn]) & set(unit[~drawn])
    assert Sharing.of(identity, "rule").whole == 7


def test_no_shape_is_on_both_sides_of_a_split(examples: Examples) -> None:
    identity = examples.identity
    shape = identity[["task", "width"]].astype(str).agg(" ".join, axis=1).to_numpy()
    drawn = identity["sampled"].to_numpy()
    splits = list(Split("scenario").split(examples.X, examples.y, groups=examples.groups))
    assert splits
    for train, test in splits:
        assert not set(shape[train][drawn[train]]) & set(shape[test][drawn[test]])
