"""The pictures show the numbers of the table, and only what a dataset's electrodes allow."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from asked import robustness
from synthetic import grid, write

from classifier.report import robustness as study
from classifier.report import robustness_plots as pictures
from classifier.report.robustness import PICTURES, noise_rows, tidy
from generator.dataset import electrodes

UNITS, LEVELS, CHANCE = (10, 100, None), (0.0, 0.5, 2.0), 0.25


def row(name: str, observable: str, trained: str, mean: float, sampling: str = "all") -> dict[str, object]:
    one = electrodes.Electrode.named(name)
    return {
        "electrode": name,
        "units": float(one.units or 50 if one.fraction < 1 else one.units or 400),
        "asked_units": np.nan if one.units is None else float(one.units),
        "noise": one.noise,
        "noise_mode": one.noise_mode,
        "sampling": sampling,
        "sessions": 21 if sampling == "all" else int(sampling.removeprefix("sessions")),
        "observable": observable,
        "trained": trained,
        "network_mean": mean,
        "network_sem": 0.01,
    }


@pytest.fixture
def table() -> pd.DataFrame:
    """Weights lose 0.1 at noise 0.5 and 0.3 at 2, activations twice that if noise is relative, a tenth if absolute."""
    rows = []
    for units, level, mode in itertools.product(UNITS, LEVELS, ("relative", "absolute")):
        if level or mode == "relative":
            name = electrodes.Electrode(units=units, noise_mode=mode if level else "none", noise=level).name
            lost = {0.0: 0.0, 0.5: 0.1, 2.0: 0.3}[level]
            activation = lost * (2 if mode == "relative" else 0.1)
            for trained, sampling in itertools.product(("same", "full"), ("all", "sessions2")):
                fewer = 0.1 * (sampling != "all") + 0.05 * (trained == "full")
                rows.append(row(name, "weight", trained, 0.9 - lost - fewer, sampling))
                rows.append(row(name, "activation", trained, 0.9 - activation - fewer, sampling))
    return pd.DataFrame(rows)


def test_electrodes_that_differ_in_seed_are_one_and_odd_ones_are_left_out() -> None:
    names = [
        "full",
        "units10_seed1",
        "units10_seed2",
        "units10_redraw",
        "units10_between",
        "poisson20.0x0.2",
        "fraction0.5",
    ]
    names[5] = electrodes.Electrode.named("poisson20x0.2").name
    found = tidy(pd.DataFrame([row(name, "all", "same", 0.1 * i) for i, name in enumerate(names)])).set_index(
        "electrode"
    )
    assert list(found.index) == ["full", "units10", "fraction0.5"]
    assert found["network_mean"].tolist() == pytest.approx([0, 0.15, 0.6])
    assert found["asked_units"].tolist() == [np.inf, 10, 50]


def test_a_line_per_level_of_noise_over_the_units(table: pd.DataFrame) -> None:
    figure = pictures.units(tidy(table), CHANCE)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["weights", "activations", "", ""]
    activations = {line.get_label(): line for line in figure.axes[1].lines}
    assert set(activations) == {"no noise", "noise 0.5", "noise 2", "chance"}
    assert activations["noise 2"].get_xdata() == pytest.approx([10, 100, 400])
    assert activations["noise 2"].get_ydata() == pytest.approx([0.3] * 3)
    below = {line.get_label(): line for line in figure.axes[2].lines}  # weights, trained on the full electrode
    assert below["noise 0.5"].get_ydata() == pytest.approx([0.75] * 3)


def test_maps_of_units_and_noise(table: pd.DataFrame) -> None:
    partly = table[table["electrode"] != "units10_relative2"]
    figure = pictures.heat(tidy(partly), CHANCE)
    assert figure is not None
    first = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(first, [[0.9] * 3, [0.8] * 3, [np.nan, 0.6, 0.6]])
    assert [tick.get_text() for tick in figure.axes[2].get_xticklabels()] == ["10", "100", "all"]


def test_a_line_per_observable_over_the_sessions(table: pd.DataFrame) -> None:
    figure = pictures.sessions(tidy(table), CHANCE)
    assert figure is not None
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["full electrode", *["units10_relative0.5"] * 2]
    lines = {line.get_label(): line for line in figure.axes[2].lines}
    assert lines["weights"].get_xdata().tolist() == [2, 21]
    assert lines["weights"].get_ydata() == pytest.approx([0.65, 0.75])


def test_relative_beside_absolute_noise(table: pd.DataFrame) -> None:
    figure = pictures.modes(tidy(table), CHANCE)
    assert figure is not None
    relative, absolute = ({line.get_label(): line for line in axes.lines} for axes in figure.axes[:2])
    assert relative["activations"].get_ydata() == pytest.approx([0.9, 0.7, 0.3])
    assert absolute["activations"].get_ydata() == pytest.approx([0.9, 0.89, 0.87])
    assert noise_rows(tidy(table)) == [
        ["noise", "trained", "weight", "activation"],
        ["relative", "same", "0.200", "0.400"],
        ["relative", "full", "0.200", "0.400"],
        ["absolute", "same", "0.200", "0.020"],
        ["absolute", "full", "0.200", "0.020"],
    ]


def test_what_the_electrodes_do_not_show_is_not_drawn(table: pd.DataFrame) -> None:
    full = tidy(table[(table["electrode"] == "full") & (table["sampling"] == "all")])
    assert [draw(full, CHANCE) for draw, _ in PICTURES.values()] == [None] * 4
    assert noise_rows(full) is None


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with two unit counts, and noise that is relative only."""
    measure = {"units4": 1.0, "relative0.5": 5.0, "units4_relative0.5": 9.0}
    location = tmp_path_factory.mktemp("few") / "dataset"
    return write(location, grid(architectures=["mlp2"], seeds=1), layers=1, measure=measure)


def test_a_study_writes_its_table_and_the_pictures_it_can_draw(
    few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "SESSIONS", (9, 2))  # the dataset has six checkpoints
    folder = few / "report" / "robustness"
    table = robustness(few, n_splits=2)
    assert len(table) == 4 * 2 * 4 * 2  # electrodes, samplings, observables, trainings
    assert table.groupby(["electrode", "sampling", "observable", "trained"]).size().max() == 1
    again = json.loads((folder / "conditions.json").read_text())
    assert (again["labels"], again["chance"]) == (["adam", "fa", "ia", "sgdm"], 0.25)
    pd.testing.assert_series_equal(
        pd.DataFrame(again["conditions"])["network_mean"], table["network_mean"], atol=1e-6, rtol=0
    )
    assert again["conditions"][0]["asked_units"] is None
    stored = pd.read_parquet(folder / "conditions.parquet")
    assert stored["network_mean"].tolist() == table["network_mean"].tolist()
    shown = capsys.readouterr().out
    said = " ".join(shown.split())
    assert "noise_modes is left out: it needs electrodes with relative and with absolute noise" in said
    assert "units4_relative0.5" in shown
    assert {path.name for path in folder.glob("*.png")} == {"units.png", "sessions.png", "units_noise.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert {path.name for path in folder.glob("*.svg")} == {"units.svg", "sessions.svg", "units_noise.svg"}
    assert all("24 networks, 2 splits, forest" in path.read_text() for path in folder.glob("*.svg"))
    assert not list(folder.glob(".*"))


def test_an_observable_and_a_level_of_noise_have_one_colour(table: pd.DataFrame) -> None:
    some = table[(table["observable"] == "activation") & (table["noise"] != 0.5)]
    for draw, column in ((pictures.units, 1), (pictures.sessions, 2), (pictures.modes, 1)):
        whole, part = draw(tidy(table), CHANCE), draw(tidy(some), CHANCE)
        assert whole is not None
        if part is None:
            continue
        before, after = (
            {line.get_label(): line.get_color() for line in axes.lines} for axes in (whole.axes[column], part.axes[0])
        )
        assert set(after) & set(before) > {"chance"}
        assert {name: before[name] for name in after if name in before} == {
            k: v for k, v in after.items() if k in before
        }
