"""Learning curves: medians over networks of what is complete, from the columns that are needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import grid, write
from typer.testing import CliRunner

import rulescope as rs
from classifier.report import curves as learning
from generator.dataset.storage import Dataset

SIZE = {0.5: 1.0, 1.0: 2.0, 2.0: 9.0}  # of the losses, by learning rate: the median is 2, the quartiles 1.5 and 5.5


def curve(network: Mapping[str, Any]) -> np.ndarray:
    """(checkpoints, 3) that fall to half with every checkpoint, but for the accuracy."""
    loss = SIZE[network["learning_rate"]] * 0.5 ** np.arange(6)
    return np.stack([loss, 2 * loss, 1 - 0.5 ** np.arange(6)], axis=1)


@pytest.fixture
def networks() -> list[dict[str, Any]]:
    return grid(rules=("sgdm", "ia"), architectures=["mlp3", "knet4"], seeds=1)


@pytest.fixture
def place(tmp_path: Path, networks: list[dict[str, Any]]) -> Path:
    """24 networks, of which one `ia` of mlp3 diverged after the third checkpoint. Two electrodes, three layers."""
    lost = next(n for n in networks if (n["rule"], n["architecture"], n["learning_rate"]) == ("ia", "mlp3", 2.0))
    return write(
        tmp_path / "d", networks, curve=curve, measure={"units4": 1.0}, statuses={lost["network_id"]: "diverged"}
    )


def rows(table: Any, rule: str, architecture: str, curve: str) -> Any:
    asked = f"rule == {rule!r} and architecture == {architecture!r} and curriculum == 'digits' and curve == {curve!r}"
    return table.query(asked).sort_values("checkpoint")


def test_quartiles_over_networks(place: Path) -> None:
    table = rs.curves(place).table
    found = rows(table, "sgdm", "mlp3", "probe_loss")
    assert found["step"].tolist() == [0, 10, 20, 30, 40, 50]
    assert found["networks"].tolist() == [3] * 6  # neither layers nor electrodes count twice
    fall = 2 * 0.5 ** np.arange(6)
    for name, value in (("low", 1.5), ("median", 2), ("high", 5.5)):
        np.testing.assert_allclose(found[name], value * fall, rtol=1e-6)
    assert len(table) == 2 * 2 * 2 * 3 * 6


def test_a_diverged_network_ends_where_it_ends(place: Path) -> None:
    found = rows(rs.curves(place).table, "ia", "mlp3", "train_loss")
    assert found["networks"].tolist() == [3, 3, 3, 2, 2, 2]
    np.testing.assert_allclose(found["median"], [2, 1, 0.5, 1.5 / 8, 1.5 / 16, 1.5 / 32])
    answer = rs.curves(place).to_dict()
    assert (answer["networks"], answer["diverged"]) == ({"sgdm": 12, "ia": 12}, {"ia": 1})
    figure = rs.curves(place).plot()
    assert "24 networks, 1 of them diverged" in figure.get_suptitle()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sgdm (12)", "ia (12, 1 diverged)"]


def test_what_is_not_finite_is_left_out(tmp_path: Path, networks: list[dict[str, Any]]) -> None:
    def exploding(network: Mapping[str, Any]) -> np.ndarray:
        found = curve(network)
        found[4:, 0] = np.inf
        return found

    place = write(tmp_path / "x", networks, curve=exploding)
    assert rows(rs.curves(place).table, "sgdm", "mlp3", "train_loss")["checkpoint"].tolist() == [0, 1, 2, 3]
    rs.curves(place).plot()


def test_a_growing_dataset_says_how_far_it_is_and_is_drawn(place: Path) -> None:
    Dataset(place).remove("networks/b.parquet")
    found = rs.curves(place)
    assert found.to_dict()["unfinished"] == "12 of 24 networks"
    assert "12 of 24 networks" in found.plot().get_suptitle()
    assert set(found.table["rule"]) == {"sgdm"}
    Dataset(place).remove("networks/a.parquet")
    with pytest.raises(rs.RequestError, match="no complete cohort yet"):
        rs.curves(place)


def test_a_panel_per_architecture_curve_and_curriculum(place: Path) -> None:
    figure = rs.curves(place).plot()
    assert len(figure.axes) == 2 * 3 * 2
    assert figure.axes[2].get_title() == "probe loss\ndigits"
    lines = {line.get_label(): line for line in figure.axes[2].lines}
    np.testing.assert_allclose(lines["sgdm (12)"].get_ydata(), 4 * 0.5 ** np.arange(6), rtol=1e-6)
    assert lines["sgdm (12)"].get_xdata().tolist() == [0, 10, 20, 30, 40, 50]


def test_a_panel_of_which_there_is_no_network_is_blank_and_its_row_and_column_are_named(tmp_path: Path) -> None:
    networks = grid(rules=("sgdm",), architectures=["mlp3", "knet4"], seeds=1)
    some = [n for n in networks if (n["architecture"], n["task"]) != ("mlp3", "digits")]
    figure = rs.curves(write(tmp_path / "x", some, curve=curve)).plot()
    assert all(axes.axison for axes in figure.axes)  # else their names would be hidden
    assert [len(axes.lines) for axes in figure.axes] == [1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1]


def test_of_very_many_architectures_families_are_drawn(
    tmp_path: Path, networks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered = [one | {"curriculum": f"mixture:{i} simclr", "task": f"mixture:{i}"} for i, one in enumerate(networks)]
    place = write(tmp_path / "d", numbered, curve=curve)
    monkeypatch.setattr(learning, "MOST_PANELS", 1)
    table = rs.curves(place).table
    assert set(table["architecture"]) == {one["family"] for one in networks}
    assert set(table["curriculum"]) == {"mixture simclr"}
    assert table["networks"].max() == len(networks) / 2 / len({one["family"] for one in networks})


def test_only_the_columns_that_are_needed_are_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = set(), Dataset._read

    def watched(self: Dataset, name: str, kind: str, columns: Any, *how: Any) -> Any:
        assert columns is not None
        read.update(columns)
        return real(self, name, kind, columns, *how)

    monkeypatch.setattr(Dataset, "_read", watched)
    learning.curves(place)
    assert not {name for name in read if name.startswith(("weight_", "activation_", "change_"))}


def test_the_command_writes_into_the_dataset_or_where_it_is_told(place: Path, tmp_path: Path) -> None:
    from rulescope import command_line

    found = CliRunner().invoke(command_line(), ["curves", str(place)], catch_exceptions=False)
    last = found.output.splitlines()[-1]
    assert last == f"24 networks, 1 of them diverged and end where they end: {place}/report/curves.png and .svg"
    assert {path.name for path in (place / "report").iterdir()} == {"curves.png", "curves.svg"}
    CliRunner().invoke(command_line(), ["curves", str(place), "--out", str(tmp_path / "c.pdf")], catch_exceptions=False)
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")
    for out, sentence in (("c.gif", "must end in .png, .svg or .pdf"), ("no/where.png", "cannot write")):
        with pytest.raises(rs.RequestError, match=sentence):
            CliRunner().invoke(command_line(), ["curves", str(place), "--out", out], catch_exceptions=False)


def test_the_command_prints_what_each_rule_ends_at(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["curves", str(place), "--out", str(tmp_path / "c.png")]
    said = CliRunner().invoke(rs.command_line(), asked).stdout
    assert "Median final probe accuracy at learning-rate multiplier 1" in said
    assert "Median final probe accuracy at the best learning rate" in said
    assert said.count("0.900") == 2 * (2 * 2 * 2)
    for name, most in (("MOST_PANELS", 3), ("MOST_COLUMNS", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(learning, name, most)
            assert "Median" not in CliRunner().invoke(rs.command_line(), asked).stdout
