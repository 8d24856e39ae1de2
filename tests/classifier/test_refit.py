"""What a model relies on, it may do without: only what nothing else says is missed when it is trained again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asked import train
from synthetic import NAMES, TRACE, grid, noise_with_trace, write

from classifier.studies.importance import importance

COPY = "activation_raw_mean"  # says what TRACE says, on another scale


def twice(network: Mapping[str, Any], layer: int) -> np.ndarray:
    values = noise_with_trace(network, layer)
    trace, copy = NAMES.index(TRACE), NAMES.index(COPY)
    noise = np.random.default_rng(list(network["network_id"].encode())).lognormal(sigma=2, size=(len(values), 1))[:, 0]
    values[:, copy] = values[:, trace] * np.exp(0.1 * np.log(noise)) * noise[0]
    return values


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Importances by (dataset, method, grouping): the trace in one statistic, or in two of two observables."""
    found = {}
    for name, observe in (("once", noise_with_trace), ("twice", twice)):
        root = tmp_path_factory.mktemp(name)
        train(write(root / "d", grid(), observe=observe), root / "m", "forest", ["shape"], refits=45)
        for method in ("permutation", "refit"):
            for by in ("statistic", "observable"):
                found[name, method, by] = importance(root / "m", by, None, method).set_index("name")
    return found


def test_what_alone_knows_the_rule_is_missed(losses: dict[tuple[str, str, str], pd.DataFrame]) -> None:
    lost = losses["once", "refit", "statistic"]
    assert lost.index[0] == TRACE
    assert lost.loc[TRACE, "importance"] > 0.5  # of ln 4 nats
    assert lost.loc[TRACE, "accuracy_drop"] > 0.6
    others = lost.drop(TRACE)
    assert others["accuracy_drop"].abs().max() < 0.1
    assert losses["once", "refit", "observable"].index[0] == "weight"


def test_what_another_says_too_is_not(losses: dict[tuple[str, str, str], pd.DataFrame]) -> None:
    relied, missed = (losses["twice", method, "statistic"] for method in ("permutation", "refit"))
    assert {TRACE, COPY} == set(relied.index[:2])
    assert relied.loc[[TRACE, COPY], "importance"].min() > 0.05
    assert missed.loc[[TRACE, COPY], "accuracy_drop"].max() < 0.1
    assert (
        missed.loc[[TRACE, COPY], "importance"].max()
        < 0.5 * losses["once", "refit", "statistic"].loc[TRACE, "importance"]
    )


def test_as_many_clusters_are_left_out_as_asked_and_none(traced: Path, tmp_path: Path) -> None:
    train(traced, tmp_path / "two", "forest", ["shape"], refits=2)
    assert len(importance(tmp_path / "two", "statistic", None, "refit")) == 2
    train(traced, tmp_path / "none", "forest", ["shape"], refits=0)
    assert not (tmp_path / "none" / "importance_refit.parquet").exists()
