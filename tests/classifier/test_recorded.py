"""A recording's dataset is read as any other is, and models name it as they name the recording itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import CHECKPOINTS

import rulescope as rs


@pytest.fixture(scope="module")
def recording() -> rs.Recording:
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(CHECKPOINTS, 12, 4, 9))
    return rs.Recording({"V1": trials, "V4": trials[:, :, :, :7] ** 2}, name="mouse 1")


@pytest.fixture(scope="module")
def written(recording: rs.Recording, tmp_path_factory: pytest.TempPathFactory) -> rs.Dataset:
    return recording.write(tmp_path_factory.mktemp("recorded") / "x")


def test_examples_are_the_same_from_memory_and_from_files(recording: rs.Recording, written: rs.Dataset) -> None:
    """What nobody knows is no column of their identity."""
    found, expected = rs.load(written), rs.Examples.from_recording(recording)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.curves, np.full((2, CHECKPOINTS, 3), np.nan))
    assert (found.statistics, found.left_out) == (expected.statistics, {})
    pd.testing.assert_frame_equal(found.identity, expected.identity, check_dtype=False)
    assert not {"rule", "task", "batch_size", "pixels"} & {*found.identity}
    assert found.electrode == recording.electrode.name == rs.load(written, electrode=found.electrode).electrode
    with pytest.raises(rs.RequestError, match="the rules of these examples are not known"):
        assert found.y is None
    with pytest.raises(rs.RequestError, match="unknown electrode 'full'"):
        rs.load(written, electrode="full")
    assert rs.load(written, sampling="sessions3").checkpoints == 3


def test_a_model_names_it(
    recording: rs.Recording, written: rs.Dataset, traced: Path, tmp_path: Path, command: Any
) -> None:
    """Measured with what it was, whatever the model was trained on; as a command, too."""
    rs.train(rs.load(traced), tmp_path / "m", observables=["activation"], refits=0)
    named = rs.predict(tmp_path / "m", recording)
    assert named["network_id"].tolist() == [recording.network_id]
    assert "labelled" not in named
    pd.testing.assert_frame_equal(rs.predict(tmp_path / "m", written), named)
    by_area = rs.predict(tmp_path / "m", written, level="layer")
    assert by_area["layer"].tolist() == ["V1", "V4"]
    said = command("predict", tmp_path / "m", written.location)
    assert pd.read_csv(io.StringIO(said.stdout))["called"].tolist() == named["called"].tolist()
    with pytest.raises(rs.RequestError, match="unknown electrode 'units3'"):
        rs.predict(tmp_path / "m", written, electrode="units3")


def test_its_curves_are_its_statistics_over_sessions(
    recording: rs.Recording, written: rs.Dataset, command: Any, tmp_path: Path
) -> None:
    """Nobody knows a loss; the mean of an area's activity is that of the array."""
    found = rs.curves(written)
    one = found.table.query("area == 'V4' and statistic == 'activation_raw_mean'")
    expected = [y.mean() for y in recording.areas[1].activity]
    np.testing.assert_allclose(one["value"], expected, rtol=1e-5)
    assert one["session"].tolist() == list(range(recording.sessions)) == one["time"].tolist()
    assert {axes.get_title() for axes in found.plot().axes} >= {"activation_raw_mean"}
    said = command("curves", written.location, "--out", tmp_path / "c.svg")
    assert said.returncode == 0
    assert said.stdout.startswith(f"{recording.sessions} sessions, 2 areas, ")
    assert "activation_raw_mean" in (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert not Path(written, "report").exists()


def test_its_curves_stand_at_the_times_of_its_sessions(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3, 20, 8))
    written = rs.Recording(x, times=[0, 1, 7]).write(tmp_path / "d")
    assert rs.curves(written).table["time"].drop_duplicates().tolist() == [0, 1, 7]


@pytest.mark.parametrize("name", ["evaluate", "controls", "distinguish", "power", "report", "robustness", "train"])
def test_what_needs_rules_says_so_in_a_sentence(written: rs.Dataset, name: str, tmp_path: Path, command: Any) -> None:
    refused = command(name, written.location, *(["--out", tmp_path / "m"] if name == "train" else []))
    assert refused.returncode == 2
    assert refused.stderr.endswith("holds a recording: only simulated networks can be learned from\n")
