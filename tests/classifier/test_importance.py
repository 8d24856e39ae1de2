"""Importance ranks the one statistic that knows the rule first, and correlated statistics as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import CHECKPOINTS, TRACE

from classifier.examples.trajectories import load
from classifier.models.card import load_card
from classifier.models.stored import Model
from classifier.studies.importance import GROUPINGS, importance
from classifier.studies.permutation import clusters, permuted
from generator.errors import RequestError


def test_the_trace_ranks_first_by_every_part(trained: Path) -> None:
    by_statistic = importance(trained, "statistic", None)
    assert TRACE in by_statistic["members"][0].split(", ")
    assert by_statistic["importance"][0] > 10 * by_statistic["importance"][1:].abs().max()
    assert importance(trained, "observable")["name"][0] == "weight"
    assert importance(trained, "function")["name"][0] == "abs"
    assert set(importance(trained, "depth")["name"]) == {"early", "middle", "deep"}
    assert len(importance(trained, "checkpoint", None)) == CHECKPOINTS


def test_every_statistic_stands_in_one_cluster(trained: Path, traced: Path) -> None:
    members = ", ".join(importance(trained, "statistic", None)["members"]).split(", ")
    assert sorted(members) == sorted(load(traced).statistics)


def test_top_takes_the_most_important_in_order(trained: Path) -> None:
    found = importance(trained, "statistic", 3)
    assert len(found) == 3
    assert found["importance"].is_monotonic_decreasing


def test_correlated_statistics_cluster_and_undefined_or_constant_ones_do_not_break_it(traced: Path) -> None:
    examples = load(traced).select(["weight_raw_norm", "weight_abs_norm", "weight_raw_mean", "change_raw", "change_sq"])
    values = examples.values.copy()
    values[:, :, 1] = -(values[:, :, 0] ** 3)  # monotone, falling: |Spearman| = 1
    values[:, :, 3] = 5
    values[::7, :, 4] = np.nan
    found = clusters(replace(examples, values=values))
    assert found == [["weight_raw_norm", "weight_abs_norm"], ["weight_raw_mean"], ["change_raw"], ["change_sq"]]


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_permuting_moves_whole_trajectories_of_its_group_only(traced: Path, grouping: str) -> None:
    examples = load(traced)
    names = list(examples.statistics)
    members = [TRACE, "weight_abs_norm"] if grouping in ("statistic", "observable", "function") else names
    name = {"depth": "early", "checkpoint": "2"}.get(grouping, TRACE)
    found = permuted(examples, grouping, name, members, np.random.default_rng(0))
    inside = np.zeros(found.shape, dtype=bool)
    rows = (examples.identity["depth"] == "early").to_numpy() if grouping == "depth" else np.full(len(found), True)
    steps = [2] if grouping == "checkpoint" else range(CHECKPOINTS)
    inside[np.ix_(rows, steps, [names.index(member) for member in members])] = True
    np.testing.assert_array_equal(found[~inside], examples.values[~inside])
    block = [array[inside].reshape(rows.sum(), -1) for array in (found, examples.values)]
    assert (block[0] != block[1]).any(axis=1).mean() > 0.9
    assert sorted(map(tuple, block[0])) == sorted(map(tuple, block[1]))  # rows moved whole


@pytest.mark.parametrize("features", ["levels", "normchange@over_mean+summary+summary@less_next"])
def test_a_renewed_table_is_that_of_the_changed_examples(trained: Path, traced: Path, features: str) -> None:
    examples = load(traced)
    card = replace(load_card(trained), features=features, statistics=list(examples.statistics))
    model, members = Model(card, None), ["change_raw", "weight_raw_norm"]
    dealt = replace(examples, values=permuted(examples, "statistic", "", members, np.random.default_rng(0)))
    before, after = model.table(examples), model.table(dealt)
    assert not np.array_equal(before, after, equal_nan=True)
    np.testing.assert_array_equal(model.renewed(before, dealt, members), after)


def test_wrong_questions_are_a_sentence(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown grouping 'layer'"):
        importance(trained, "layer")
    with pytest.raises(RequestError, match="is not a model"):
        importance(tmp_path)
    with pytest.raises(RequestError, match="at least 1"):
        importance(trained, top=0)
