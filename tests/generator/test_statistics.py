"""The tensor statistics against plain float64 numpy, on data that is easy and on data that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import FUNCTIONS, TOLERANCE, close, floor, statistics

from generator import kernels
from generator.architectures.layers import Linear
from generator.dataset.electrodes import FULL
from generator.observables import OBSERVABLES, PAPER, tensors
from generator.observables import statistics as declared
from generator.observables.contract import Implant, Reading, Scene
from generator.observables.tensors import STATISTICS, TENSOR_STATISTICS, tensor_statistics

Make = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, Make] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "shifted": lambda rng, n: rng.normal(size=n) + 2,
    "relu": lambda rng, n: np.maximum(rng.normal(size=n), 0),
    "mostly zero": lambda rng, n: np.maximum(rng.normal(size=n) - 2, 0),
    "negative": lambda rng, n: -rng.exponential(size=n),
    "tanh, saturated": lambda rng, n: np.tanh(5 * rng.normal(size=n)),
    "heavy tails": lambda rng, n: rng.standard_t(1.5, size=n),
    "integers with ties": lambda rng, n: rng.integers(-3, 4, size=n).astype(float),
    "mean of 1000 std": lambda rng, n: 1000 + rng.normal(size=n),
    "mean of −1000 std": lambda rng, n: rng.normal(size=n) - 1000,
}
NAMES = [one.name for one in declared()]
LENGTHS = [1, 2, 3, 4, 10, 127, 128, 1000, 20_001]


@pytest.fixture(autouse=True, params=["pieces", "compiled"])
def computed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything here holds for both."""
    with kernels.chosen(request.param):
        yield


def check(rows: np.ndarray) -> None:
    """Every row's 21 statistics, rows (r, n) given to the code under test as float32."""
    rows = rows.astype(np.float32)
    found = tensor_statistics(torch.from_numpy(rows)).numpy()
    assert found.shape == (len(rows), len(TENSOR_STATISTICS))
    for row, values in zip(rows, found, strict=True):
        expected = statistics(row)
        for (function, statistic), value in zip(TENSOR_STATISTICS, values, strict=True):
            answer = expected[function, statistic]
            least = floor(function, statistic, row) + (_rounding(function, row) if statistic == "skew" else 0)
            right = close(value, answer, TOLERANCE[statistic], least)
            assert right, f"{function}_{statistic} of {len(row)}: {value} for {answer}"


def _rounding(function: str, row: np.ndarray) -> float:
    """How far rounding every element to float32 can move the skew of nearly constant data, over the tolerance."""
    v = FUNCTIONS[function](row.astype(np.float64))
    return 3 * 2.0**-24 * abs(v).max() / v.std() / TOLERANCE["skew"] if np.ptp(v) else 0.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", LENGTHS)
def test_all_statistics_equal_numpy(kind: str, n: int) -> None:
    rng = np.random.default_rng([n, *kind.encode()])
    check(np.stack([KINDS[kind](rng, n) for _ in range(3)]))


@pytest.mark.parametrize("scale", [1e-36, 1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "heavy tails"])
def test_statistics_hold_at_tiny_and_huge_scales(kind: str, scale: float) -> None:
    rng = np.random.default_rng(5)
    check(scale * np.stack([KINDS[kind](rng, n) for n in (501, 501)]))


def test_rows_of_very_different_scales_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(0)
    check(10.0 ** np.arange(-12, 13, 3)[:, None] * rng.normal(size=(9, 200)))


def test_a_tensor_longer_than_one_chunk_and_many_rows_of_it_are_right() -> None:
    rng = np.random.default_rng(1)
    check(rng.normal(size=(1, 300_001)))
    check(rng.normal(size=(700, 257)))


@pytest.mark.parametrize("n", [3, 17, 1023, 1024, 5000])
def test_in_compiled_code_a_row_gives_the_same_alone_and_among_others_bit_for_bit(n: int) -> None:
    rows = torch.from_numpy(np.random.default_rng(2).standard_normal((150, n)).astype(np.float32))
    rows[::7] = rows[::7].abs() * 1e5
    with kernels.chosen("compiled"):
        among = tensor_statistics(rows)
        alone = torch.cat([tensor_statistics(row[None]) for row in rows])
    torch.testing.assert_close(among, alone, rtol=0, atol=0, equal_nan=True)


def test_a_row_that_is_undefined_or_infinite_leaves_the_others_alone() -> None:
    rows = np.random.default_rng(4).normal(size=(5, 200)).astype(np.float32)
    good = tensor_statistics(torch.from_numpy(rows)).numpy()
    rows[1, 7], rows[3, 0], rows[3, 1] = np.nan, np.inf, -np.inf
    found = tensor_statistics(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found[[0, 2, 4]], good[[0, 2, 4]], rtol=1e-5)
    assert np.isnan(found[1]).all()
    infinite = dict(zip(TENSOR_STATISTICS, found[3], strict=True))
    assert infinite["raw", "median"] == pytest.approx(np.median(rows[3]))
    assert infinite["abs", "thirdquartile"] == pytest.approx(np.quantile(np.abs(rows[3]), 0.75), rel=1e-6)
    assert not np.isfinite(infinite["raw", "norm"])


@pytest.mark.parametrize(("block", "chunk"), [(1, 1), (10, 7), (1000, 100), (1000, 101), (10_000, 300)])
@pytest.mark.parametrize("kind", ["normal", "relu", "mean of 1000 std"])
def test_the_pieces_a_tensor_is_worked_on_in_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, kind: str, block: int, chunk: int
) -> None:
    monkeypatch.setattr(tensors, "BLOCK", block)
    monkeypatch.setattr(tensors, "CHUNK", chunk)
    rng = np.random.default_rng(7)
    check(np.stack([KINDS[kind](rng, 101) for _ in range(13)]))


@pytest.mark.parametrize("n", [511, 512, 513, 514])
def test_both_ways_to_the_order_of_magnitudes_are_right(n: int) -> None:
    check(np.random.default_rng(n).normal(size=(5, n)) + 0.5)


def test_the_mean_of_a_thousand_deviations_keeps_its_kurtosis() -> None:
    x = (1000 + np.random.default_rng(2).standard_t(5, size=50_000)).astype(np.float32)
    expected = statistics(x)["raw", "kurtosis"]
    found = _named(x)["raw", "kurtosis"]
    assert abs(found - expected) < 1e-3 * expected


def _named(x: np.ndarray) -> dict[tuple[str, str], float]:
    values = tensor_statistics(torch.from_numpy(np.asarray(x, np.float32)[None])).numpy()[0]
    return dict(zip(TENSOR_STATISTICS, map(float, values), strict=True))


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1e-20, 3e11])
@pytest.mark.parametrize("n", [1, 2, 3, 1000])
def test_a_constant_has_no_variance_and_its_shape_is_undefined_never_zero(value: float, n: int) -> None:
    found = _named(np.full(n, value))
    for function in FUNCTIONS:
        assert found[function, "var"] == 0
        assert np.isnan(found[function, "skew"])
        assert np.isnan(found[function, "kurtosis"])


def test_plus_and_minus_one_value_are_constant_in_magnitude_only() -> None:
    found = _named(np.array([0.1, -0.1, -0.1, 0.1, 0.1]))
    assert found["raw", "kurtosis"] == pytest.approx(statistics(np.array([1, -1, -1, 1, 1]))["raw", "kurtosis"])
    for function in ("sq", "abs"):
        assert found[function, "var"] == 0
        assert np.isnan(found[function, "skew"])
        assert np.isnan(found[function, "kurtosis"])


def test_nothing_has_no_statistics() -> None:
    assert bool(tensor_statistics(torch.empty(2, 0)).isnan().all())


def test_the_sign_of_zero_changes_no_byte() -> None:
    x = np.random.default_rng(3).normal(size=(8, 101)).astype(np.float32)
    x[:, ::3] = 0.0
    x[7] = 0.0
    minus = np.where(x == 0, np.float32(-0.0), x)
    plus, negative = (tensor_statistics(torch.from_numpy(t)).float().numpy() for t in (x, minus))
    assert minus.tobytes() != x.tobytes()
    assert plus.tobytes() == negative.tobytes()


@pytest.mark.parametrize("seed", range(40))
def test_quantiles_of_magnitudes_and_squares_follow_from_any_pattern_of_signs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    values = rng.choice([rng.normal(size=n), rng.integers(0, 4, size=n) / 2, rng.exponential(size=n)])
    signs = np.where(rng.random((12, n)) < rng.random((12, 1)), -1.0, 1.0)
    rows = (np.abs(values) * signs).astype(np.float32)
    found = tensor_statistics(torch.from_numpy(rows)).numpy()
    for j, (function, statistic) in enumerate(TENSOR_STATISTICS):
        share = {"median": 0.5, "thirdquartile": 0.75}.get(statistic)
        if share is not None:
            x = rows.astype(np.float64)
            expected = np.quantile({"raw": x, "sq": x * x, "abs": abs(x)}[function], share, axis=1)
            np.testing.assert_allclose(found[:, j], expected, rtol=1e-6, atol=1e-9)


# -- the observables of a layer ----------------------------------------------------------------------------------------
def _layer(n_in: int, n_out: int, nonlinearity: str = "linear") -> Linear:
    generator = torch.Generator().manual_seed(0)
    return Linear("fc", n_in, n_out, nonlinearity, lambda p, name, shape: torch.randn((1, *shape), generator=generator))


def _measured(layer: Linear, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    reading = Reading(scene := Scene(layer, x, y, 0, implants={FULL: Implant()}), FULL, {})
    made = [OBSERVABLES[name]() for name in PAPER]
    picked = {kind: kind().pick(scene, FULL) for each in made for kind in each.signals}
    reading = replace(reading, picked=picked)
    values = torch.cat([each.assemble([each.reduce(reading)]) for each in made], dim=2)
    return dict(zip(NAMES, values[0, 0].tolist(), strict=True))


def test_activation_statistics_are_means_over_stimuli() -> None:
    layer, x = _layer(5, 33), torch.randn(1, 7, 5)
    y = torch.bmm(x, layer.weight.mT)
    each = [statistics(stimulus.numpy()) for stimulus in y[0]]
    found = _measured(layer, x, y)
    for function, statistic in TENSOR_STATISTICS:
        expected = float(np.mean([one[function, statistic] for one in each]))
        least = floor(function, statistic, y.numpy())
        assert close(found[f"activation_{function}_{statistic}"], expected, TOLERANCE[statistic], least)


def test_one_undefined_stimulus_makes_the_average_undefined() -> None:
    layer, x = _layer(5, 33), torch.randn(1, 7, 5)
    y = torch.bmm(x, layer.weight.mT)
    y[0, 3] = 0.0
    found = _measured(layer, x, y)
    undefined = {name for name, value in found.items() if np.isnan(value)}
    assert undefined == {f"activation_{f}_{s}" for f in ("raw", "sq", "abs") for s in ("skew", "kurtosis")}


def test_one_value_that_is_no_number_makes_all_activation_statistics_undefined() -> None:
    layer, x = _layer(5, 33), torch.randn(1, 7, 5)
    y = torch.bmm(x, layer.weight.mT)
    y[0, 3, 2] = torch.nan
    found = _measured(layer, x, y)
    defined = {name for name, value in found.items() if name.startswith("activation") and not np.isnan(value)}
    assert not defined


def test_a_linear_layers_change_is_fan_in_times_its_mean_weight() -> None:
    layer, x = _layer(400, 30), torch.randn(1, 4, 400)
    found = _measured(layer, x, torch.bmm(x, layer.weight.mT))
    expected = 400 * float(layer.weight.double().mean())
    assert found["change_raw"] == pytest.approx(expected, rel=1e-4)
    assert found["change_sq"] == pytest.approx(expected**2, rel=1e-4)
    assert found["change_abs"] == pytest.approx(abs(expected), rel=1e-4)


# -- the columns -------------------------------------------------------------------------------------------------------
def test_every_statistic_of_the_paper_is_computed_and_has_an_oracle() -> None:
    layer, x = _layer(5, 33), torch.randn(1, 7, 5)
    assert len(_measured(layer, x, torch.bmm(x, layer.weight.mT))) == len(set(NAMES)) == 45
    covered = {f"{o}_{f}_{s}" for o in ("weight", "activation") for f, s in statistics(np.arange(3.0))}
    covered |= {"change_raw", "change_sq", "change_abs"}
    assert covered == set(NAMES)
    assert TOLERANCE.keys() == STATISTICS.keys()


def test_every_column_of_every_observable_has_a_name_and_a_meaning_of_its_own() -> None:
    found = declared(tuple(OBSERVABLES))
    assert len({one.name for one in found}) == len({one.meaning for one in found}) == len(found)
    for name, observable in OBSERVABLES.items():
        assert {one.observable for one in observable.statistics} == {name}
        assert all(one.name.startswith(f"{name}_") for one in observable.statistics)
