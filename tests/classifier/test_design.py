"""Which conditions bear on a question, where they lie, and what they surround."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from synthetic import grid, write

from classifier.power.design import Design, Planned, surrounded
from generator.dataset.noise import MODES
from generator.dataset.storage import Dataset
from generator.errors import RequestError

ELECTRODES = ["full", "units2", "units2_relative0.5", "units2_relative0.5_seed1", "relative0.5", "relative2"]
OTHERS = ["units2_absolute0.5", "fraction0.5", "units2_between", "units2_redraw"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    published = Dataset(write(tmp_path / "d", grid(seeds=1)))
    published.record_cohorts({"checkpoints": 6, "electrodes": ELECTRODES + OTHERS}, published.cohorts())
    return published


def design(sizes: Sequence[float] = (8, 512), electrodes: Sequence[str] = ELECTRODES, mode: str = "relative") -> Design:
    return Design(mode, tuple(electrodes), np.array(sizes, dtype=float), np.full(len(sizes), 1 / len(sizes)), (1, 2, 4))


def test_chronic_single_synapses_of_one_noise_mode_and_those_without_noise(dataset: Dataset) -> None:
    found = Design.of(dataset, "relative")
    assert found.electrodes == tuple(ELECTRODES)
    assert found.sessions == (1, 2, 3, 4, 6)
    assert (found.sizes.tolist(), found.shares.tolist()) == ([8], [1])
    assert found.ranges() == {"units": [2, None], "noise": [0, 0.5, 2], "sessions": [1, 2, 3, 4, 6]}
    assert Design.of(dataset, "none").electrodes == ("full", "units2")
    with pytest.raises(RequestError, match=r"unknown noise mode 'poisson' .*; known: absolute, none, relative"):
        Design.of(dataset, "poisson")


def test_a_layer_with_fewer_units_gives_all() -> None:
    found = design((8, 512))
    np.testing.assert_allclose(found.mean_units([2, 32, 1000, np.nan]), [2, 16, 64, 64])
    uneven = Design("none", ("full",), np.array([8.0, 512.0]), np.array([2 / 3, 1 / 3]), (1,))
    assert uneven.mean_units(64) == pytest.approx(16)


def test_better_recordings_have_greater_coordinates() -> None:
    places = design().place([2, 2, 2, 3], [2, 0.5, 0.5, 0.5], [1, 1, 2, 2])
    assert (np.diff(places, axis=0) >= 0).all()
    assert len(np.unique(places, axis=0)) == 4


def test_spikes_are_the_better_the_more() -> None:
    np.testing.assert_allclose(MODES["poisson"].severity([4, 100, 0]), [0.5, 0.1, 0])
    np.testing.assert_allclose(MODES["poisson"].noise([0.5, 0.1, 0]), [4, 100, 0])
    np.testing.assert_allclose(MODES["absolute"].severity([4, 0]), [4, 0])
    spikes = design(electrodes=["full", "poisson10x0.4"], mode="poisson")
    spikes.check(Planned(None, 100, 4))
    with pytest.raises(RequestError, match="noise 2 lies outside"):
        spikes.check(Planned(None, 2, 4))


def test_surrounded_needs_a_condition_on_either_side() -> None:
    corner = np.array([[0.0, 1], [1, 0], [1, 1]])
    points = np.array([[0.5, 1], [1, 0.5], [0.5, 0.5], [1, 1], [1, 1.1], [1, -0.1]])
    assert surrounded(points, corner).tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Planned(1, 0.0, 4), r"units 1 lies outside.*units 2, all, noise 0, 0.5, 2, sessions 1, 2, 4"),
        (Planned(None, 3.0, 4), "noise 3 lies outside what was simulated"),
        (Planned(2, 0.5, 5), "sessions 5 lies outside what was simulated"),
        (Planned(2, 1.0, 4), "units 2 and noise 1 together lie outside .*electrodes: full, units2, "),
    ],
)
def test_what_was_not_simulated_is_a_sentence(asked: Planned, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        design().check(asked)


@pytest.mark.parametrize("asked", [Planned(None, 2.0, 1), Planned(2, 0.5, 1), Planned(600, 1.0, 3), Planned(7, 0.2, 4)])
def test_what_lies_between_is_answered(asked: Planned) -> None:
    design().check(asked)


def test_too_few_conditions_are_a_sentence(tmp_path: Path) -> None:
    published = Dataset(write(tmp_path / "d", grid(seeds=1)))
    published.record_cohorts({"checkpoints": 2, "electrodes": ["full"]}, published.cohorts())
    with pytest.raises(RequestError, match="1 electrodes of noise mode none and 2 checkpoints: at least 5"):
        Design.of(published, "none")
