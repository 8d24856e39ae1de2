"""The convolution over time, against the same sums written out in numpy, and what a classifier must keep to."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from asked import train
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import clone
from synthetic import RULES, TRACE

from classifier.examples.features import Feature
from classifier.examples.trajectories import load
from classifier.models.convolution import Convolution
from classifier.models.estimators import Recipe, Setting
from classifier.models.problem import Problem
from classifier.studies.evaluate import permuted_scores
from classifier.studies.importance import importance

CHANNELS, CHECKPOINTS = 4, 7
DEPTHS = [Feature("depth", "early", None).name, Feature("depth", "deep", None).name]
COLUMNS = [Feature("levels", f"s{c}", str(t)).name for t in range(CHECKPOINTS) for c in range(CHANNELS)] + DEPTHS


def peaks(examples: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(examples, features) noise with one peak in the third channel, whose time is the class: 1, 3 or 5."""
    rng = np.random.default_rng(seed)
    table, y = rng.normal(size=(examples, len(COLUMNS))).astype(np.float32), np.arange(examples) % 3
    table[np.arange(examples), [COLUMNS.index(Feature("levels", "s2", str(1 + 2 * one)).name) for one in y]] += 6
    table[:, -2:] = np.eye(2)[rng.integers(2, size=examples)]
    return table, y


@pytest.fixture(scope="module")
def gappy() -> tuple[Convolution, NDArray[np.float32]]:
    """A fitted convolution and its training table, in which two channels have gaps."""
    table, y = peaks(90)
    rng = np.random.default_rng(1)
    for name in ("s0", "s3"):
        column = COLUMNS.index(Feature("levels", name, "2").name)
        table[rng.random(90) < 0.3, column] = np.nan
    return Convolution(COLUMNS, filters=5, width=3, windows=3, epochs=10).fit(table, y), table


def by_hand(model: Convolution, table: NDArray[np.float32]) -> NDArray[np.float64]:
    """(examples, classes) probabilities, sum by sum: zero padding, correlation, ReLU, means over windows, read-out."""
    out = []
    for row in table.astype(np.float64):
        values = dict(zip(COLUMNS, row, strict=True))
        rows = [[values[f"levels:s{c}:{t}"] for t in range(CHECKPOINTS)] for c in range(CHANNELS)]
        rows += [list(np.isnan(rows[c])) for c in range(CHANNELS) if model.flagged_[c]]
        channels = np.nan_to_num(np.array(rows, dtype=float))
        half = model.width // 2
        padded = np.pad(channels, ((0, 0), (half, half)))
        found = np.zeros((model.filters, CHECKPOINTS))
        for f, t, c, lag in itertools.product(
            range(model.filters), range(CHECKPOINTS), range(len(channels)), range(model.width)
        ):
            found[f, t] += model.kernels_[f, c, lag] * padded[c, t + lag]
        found = np.maximum(found + model.offsets_[:, None], 0)
        windows = [
            (w * CHECKPOINTS // model.windows, -(-(w + 1) * CHECKPOINTS // model.windows)) for w in range(model.windows)
        ]
        pooled = [found[f, start:end].mean() for f in range(model.filters) for start, end in windows]
        out.append(model.readout_ @ [*pooled, *(values[name] for name in DEPTHS)] + model.intercept_)
    return softmax(out, axis=1)


def test_the_forward_pass_is_the_one_written_out(gappy: tuple[Convolution, NDArray[np.float32]]) -> None:
    model, table = gappy
    assert model.flagged_.tolist() == [True, False, False, True]
    assert model.kernels_.shape == (5, 4 + 2, 3)
    assert model.readout_.shape == (3, 5 * 3 + 2)
    np.testing.assert_allclose(model.predict_proba(table), by_hand(model, table), rtol=1e-4, atol=1e-7, equal_nan=False)


def test_it_names_the_time_of_a_peak_that_it_has_not_seen() -> None:
    (table, y), (new, truth) = peaks(120), peaks(120, seed=1)
    model = Convolution(COLUMNS).fit(table, np.array(["a", "b", "c"])[y])
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert (model.predict(new) == np.array(["a", "b", "c"])[truth]).mean() > 0.95
    assert model.score(new, np.array(["a", "b", "c"])[truth]) > 0.95


def test_the_names_and_nothing_else_say_where_a_column_belongs() -> None:
    table, y = peaks(60)
    order = np.concatenate([np.random.default_rng(0).permutation(len(COLUMNS) - 2), [-2, -1]])
    one = Convolution(COLUMNS, epochs=3).fit(table, y).predict_proba(table)
    shuffled = Convolution([COLUMNS[place] for place in order], epochs=3).fit(table[:, order], y)
    np.testing.assert_array_equal(shuffled.predict_proba(table[:, order]), one)


def test_a_difference_has_nothing_at_its_first_checkpoint_and_is_not_shifted() -> None:
    columns = [*(f"shape:s0:{t}" for t in range(3)), *(f"difference:s0:{t}" for t in range(1, 3))]
    trajectories, rest = Convolution(columns)._unflatten(np.array([[1, 2, 3, 12, 13]]))
    np.testing.assert_array_equal(trajectories, [[[0, 12, 13], [1, 2, 3]]])
    assert rest.shape == (1, 0)
    alone, _ = Convolution(columns[3:])._unflatten(np.array([[12, 13]]))
    np.testing.assert_array_equal(alone, [[[12, 13]]])


def test_equal_seeds_give_equal_models_side_by_side_too_and_torch_keeps_its_threads_and_its_dice() -> None:
    table, y = peaks(60)
    models = [Convolution(COLUMNS, epochs=3, random_state=seed) for seed in (0, 0, 1)]
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda model: model.fit(table, y).predict_proba(table), models))
    alone = clone(models[0]).fit(table, y).predict_proba(table)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], alone)
    assert (found[0] != found[2]).any()
    assert torch.equal(state, torch.get_rng_state())


def test_gaps_where_training_had_none_count_as_the_centre(gappy: tuple[Convolution, NDArray[np.float32]]) -> None:
    model, table = gappy
    gap, centre = table.copy(), table.copy()
    gap[:, COLUMNS.index("levels:s1:4")] = np.nan
    centre[:, COLUMNS.index("levels:s1:4")] = 0
    np.testing.assert_array_equal(model.predict_proba(gap), model.predict_proba(centre))


def test_weight_decay_shrinks_the_weights() -> None:
    table, y = peaks(60)
    loose, tight = (Convolution(COLUMNS, weight_decay=decay).fit(table, y) for decay in (0.0, 3.0))
    assert np.linalg.norm(tight.kernels_) < 0.7 * np.linalg.norm(loose.kernels_)


def test_parameters_are_kept_and_cloned() -> None:
    model = Convolution(tuple(COLUMNS), filters=2, width=5, windows=1, weight_decay=0.2, epochs=1, random_state=3)
    expected = {"filters": 2, "width": 5, "windows": 1, "weight_decay": 0.2, "epochs": 1, "random_state": 3}
    assert model.get_params() == {"columns": tuple(COLUMNS), **expected}
    table, y = peaks(30)
    again = clone(model.fit(table, y))
    assert again.get_params() == model.get_params()
    assert not hasattr(again, "kernels_")
    assert again.set_params(filters=3).fit(table, y).kernels_.shape == (3, CHANNELS, 5)


def test_a_table_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a table of 30 columns, got an array of shape \(4, 5\)"):
        Convolution(COLUMNS).fit(np.zeros((4, 5)), np.arange(4) % 2)


def test_of_columns_without_a_checkpoint_the_read_out_is_left() -> None:
    y = np.arange(60) % len(DEPTHS)
    table = np.eye(len(DEPTHS), dtype=np.float32)[y]
    np.testing.assert_array_equal(Convolution(DEPTHS).fit(table, y).predict(table), y)


def test_permuted_labels_give_chance(traced: Path) -> None:
    examples = load(traced)
    problem = Problem.of(examples, "rule", ["shape"])
    found = permuted_scores(problem, Recipe("conv"), Setting("shape", {"weight_decay": 1.0}), "scenario", 20)
    sem = np.std(found, ddof=1) / np.sqrt(20)
    assert sem < 0.05
    assert abs(np.mean(found) - 1 / len(RULES)) < 2 * sem


def test_it_is_trained_stored_and_ranked_like_the_others(traced: Path, tmp_path: Path) -> None:
    card = train(traced, tmp_path / "model", "conv", ["relative"])
    assert card.scores["network"] == 1.0
    ranking = importance(tmp_path / "model", "statistic", None)
    assert TRACE in ranking["members"][0].split(", ")
    assert ranking["importance"][0] > 10 * ranking["importance"][1:].abs().max()


def test_undefined_columns_without_a_checkpoint_spoil_nothing() -> None:
    columns = [*COLUMNS, "levels:s0:end"]
    rng = np.random.default_rng(0)
    table, y = rng.normal(size=(60, len(columns))).astype(np.float32), np.arange(60) % 2
    table[:, 0] += 3 * y
    table[::7, -1] = np.nan
    model = Convolution(columns, epochs=3).fit(table, y)
    assert np.isfinite(model.predict_proba(table)).all()
