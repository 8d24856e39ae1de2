"""Recordings from files: the same as the arrays that were written to them; and the sentence for what cannot be read."""

from __future__ import annotations

import datetime
import gzip
import io
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generator.errors import RequestError
from generator.recordings import memory, tables
from generator.recordings.files import How, read
from generator.recordings.recording import Recording

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
HERE = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings here")
DAY = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
RNG = np.random.default_rng(0)
CUBE = RNG.normal(size=(4, 6, 5, 7))  # sessions, stimuli, trials, units
COUNTS = RNG.poisson(4, size=(60, 9)).astype(float)  # trials, units
TARGETS = np.tile([270.0, 45.0, 90.0], 20)
BLOCKS = np.repeat(["tue", "mon", "wed"], 20)


def same(found: Recording, wanted: Recording, *before: str, close: bool = False) -> None:
    """That two recordings are one, but for what its reader says `before`."""
    assert [one.name for one in found.areas] == [one.name for one in wanted.areas]
    for one, other in zip(found.areas, wanted.areas, strict=True):
        assert len(one.activity) == len(other.activity)
        for y, z in zip(one.activity, other.activity, strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-5 if close else 0)
        assert one.noise == (pytest.approx(other.noise, rel=1e-6) if close and other.noise else other.noise)
        assert (one.weights is None) == (other.weights is None)
        for w, v in zip(one.weights or (), other.weights or (), strict=True):
            np.testing.assert_array_equal(w, v)
    assert found.notes == (*before, *wanted.notes)
    assert (found.followed, found.sessions, found.stimuli) == (wanted.followed, wanted.sessions, wanted.stimuli)
    np.testing.assert_array_equal(np.asarray(found.classes), np.asarray(wanted.classes))


# -- arrays ------------------------------------------------------------------------------------------------------------
def saved(folder: Path, name: str = "monkey.npz", **arrays: Any) -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def test_arrays_are_areas_by_their_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    w, classes = rng.normal(size=(4, 7, 3)), np.array(list("aabbcc"))
    with_gap = np.where(np.arange(7) == 3, np.nan, CUBE[:, :, 0])
    path = saved(tmp_path, M1=CUBE, PMd=with_gap, weights_M1=w, classes=classes, times=np.arange(5))
    wanted = Recording({"M1": CUBE, "PMd": with_gap}, weights={"M1": w}, classes=classes)
    found = read([path])
    same(found, wanted, "up to 5 trials of a stimulus in a session")
    assert found.name == "monkey"
    same(read([path], How(values=("PMd",), classes="classes")), Recording({"PMd": with_gap}, classes=classes))
    turned = saved(tmp_path, "turned.npz", M1=CUBE.transpose(3, 1, 2, 0))
    found = read([turned], How(axes="units, stimuli, trials, sessions", followed=False, name="x"))
    same(found, Recording({"M1": CUBE}, followed=False), "up to 5 trials of a stimulus in a session")
    assert found.name == "x"


def test_rows_of_an_array_are_trials(tmp_path: Path) -> None:
    path = saved(
        tmp_path, y=COUNTS.astype(np.uint8), to=TARGETS, block=BLOCKS.astype(bytes), lobe=np.array(list("aabbbaabb"))
    )
    wanted = Recording.from_trials(COUNTS, stimuli=TARGETS, sessions=BLOCKS)
    same(read([path], How(values=("y",), stimulus=("to",), session="block")), wanted, "60 trials")
    by_window = Recording.from_trials(COUNTS, stimuli=TARGETS, windows=5)
    same(read([path], How(values=("y",), stimulus=("to",), windows=5)), by_window, "60 trials")
    lobes = {"a": COUNTS[:, [0, 1, 5, 6]], "b": COUNTS[:, [2, 3, 4, 7, 8]]}
    wanted = Recording.from_trials(lobes, stimuli=TARGETS, sessions=BLOCKS)
    same(read([path], How(values=("y",), stimulus=("to",), session="block", area="lobe")), wanted, "60 trials")


def test_each_of_several_arrays_of_rows_is_a_session_and_so_is_each_file(tmp_path: Path) -> None:
    """Files have their own units, unless it is said that they are the same."""
    two = {"before": COUNTS[:30], "after": COUNTS[30:], "to": TARGETS[:30]}
    path = saved(tmp_path, **two)
    how = How(values=("before", "after"), stimulus=("to", "to"))
    wanted = Recording.from_trials(COUNTS, stimuli=TARGETS, sessions=np.repeat([0, 1], 30))
    same(read([path], how), wanted, "60 trials")
    days = [
        saved(tmp_path, f"{day}.npz", y=COUNTS[30 * day : 30 * day + 30, : 9 - 2 * day], to=TARGETS[:30])
        for day in (0, 1)
    ]
    found = read(days, How(values=("y",), stimulus=("to",)))
    assert found.notes == (
        "units of several files are taken to be others in each session (say followed if they are the same)",
        "60 trials",
    )
    for number in (0, 1):
        rows = COUNTS[30 * number : 30 * number + 30, : 9 - 2 * number]
        means = [rows[TARGETS[:30] == one].mean(0) for one in (45, 90, 270)]
        np.testing.assert_allclose(found.areas[0].activity[number], means, rtol=1e-6)
    narrow = Recording.from_trials(COUNTS[:, :7], stimuli=TARGETS, sessions=np.repeat([0, 1], 30), followed=False)
    assert found.areas[0].noise == pytest.approx(narrow.areas[0].noise, rel=0.5)
    same(
        read([days[0], days[0]], How(values=("y",), stimulus=("to",), followed=True)),
        Recording.from_trials(
            np.tile(COUNTS[:30], (2, 1)), stimuli=np.tile(TARGETS[:30], 2), sessions=np.repeat([0, 1], 30)
        ),
        "60 trials",
    )


def test_sessions_of_other_units_are_the_same_as_padded_ones(tmp_path: Path) -> None:
    """With as many units in every session, numbers and noise are those of one table, however trials are dealt."""
    rng = np.random.default_rng(1)
    at = rng.permutation(60)
    whole = Recording.from_trials(COUNTS[at], stimuli=TARGETS[at], sessions=BLOCKS, followed=False)
    days = []
    for day in ("tue", "mon", "wed"):
        here = at[day == BLOCKS]
        table = COUNTS[here]
        if day == "mon":  # a unit more, that answers nothing and is left out
            table = np.c_[table, np.full(len(table), np.nan)]
        days.append(saved(tmp_path, f"{day}.npz", y=table, to=TARGETS[here]))
    found = read(days, How(values=("y",), stimulus=("to",), followed=False))
    left_out = "1 units of area1 miss a value and are left out, counted session by session"
    assert found.notes == ("60 trials", left_out)
    for y, z in zip(found.areas[0].activity, whole.areas[0].activity, strict=True):
        np.testing.assert_array_equal(y, z)
    assert found.areas[0].noise == pytest.approx(whole.areas[0].noise)


def test_bins_of_a_trial_are_averaged_before_trials_fall_into_windows(tmp_path: Path) -> None:
    """Trials of unequal lengths count alike; bins between trials, and trials without a target, are left out."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 5, size=60)
    names = rng.permutation(np.arange(100.0, 160))
    trial = np.repeat(names, lengths)
    bins = rng.normal(size=(len(trial), 4))
    bins[trial == 130, 2] = np.nan
    target = np.repeat(TARGETS, lengths)
    means = np.array([bins[trial == one].mean(0) for one in names])
    path = saved(tmp_path, y=bins, to=target, n=trial)
    how = How(values=("y",), stimulus=("to",), trial=("n",), windows=5)
    wanted = Recording.from_trials(means, stimuli=TARGETS, windows=5)
    said = f"{len(trial)} bins of y are averaged to trials"
    same(read([path], how), wanted, said, "60 trials", close=True)
    between = np.r_[trial, [np.nan, np.nan]], np.r_[bins, np.ones((2, 4))], np.r_[target, [45, 90]]
    target = np.where(between[0] == names[-1], np.nan, between[2])
    path = saved(tmp_path, y=between[1], to=target, n=between[0])
    wanted = Recording.from_trials(means[:59], stimuli=TARGETS[:59], windows=5)
    same(
        read([path], how),
        wanted,
        f"2 of {len(trial) + 2} rows of monkey.npz, y have no trial and are left out",
        said,
        "1 of 60 rows of monkey.npz, y have no stimulus and are left out",
        "59 trials",
        close=True,
    )


@HERE
def test_recordings_of_monkeys_are_read_as_they_are() -> None:
    parts = ("before", "after")
    how = How(values=("before_counts", "after_counts"), stimulus=("before_target_degrees", "after_target_degrees"))
    golub = np.load(RECORDINGS / "golub-monkey-bci.npz")
    wanted = Recording.from_trials(
        np.concatenate([golub[f"{part}_counts"] for part in parts]),
        stimuli=np.concatenate([golub[f"{part}_target_degrees"] for part in parts]),
        sessions=np.repeat(parts, 552),
    )
    same(read([RECORDINGS / "golub-monkey-bci.npz"], how), wanted, "1,104 trials")
    how = How(values=("perturbed_latents",), stimulus=("perturbed_target",), trial=("perturbed_trial",), windows=20)
    found = read([RECORDINGS / "hennig-monkey-bci-20160728.npz"], how)
    assert (found.sessions, found.stimuli, found.areas[0].activity[0].shape) == (20, 8, (8, 10))
    assert found.notes[:2] == ("10,397 bins of perturbed_latents are averaged to trials", "600 trials")


def forged(path: Path, shape: str, content: bytes = b"", descr: str = "'<f8'") -> Path:
    """An npz file whose one array says of itself what it is not."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("y.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content)
    return path


ROWS = How(values=("y",), stimulus=("to",), windows=3)


@pytest.mark.parametrize(
    ("arrays", "how", "sentence"),
    [
        (
            {"y": COUNTS, "to": TARGETS},
            How(),
            r"name arrays of trials × units \(values\).*it has y \(60, 9\), to \(60\)",
        ),
        ({"y": COUNTS, "to": TARGETS}, How(windows=3), r"needs the name of an array of stimuli .*it has y \(60, 9\)"),
        ({"y": COUNTS, "to": TARGETS}, How(stimulus=("to",)), r"\(values\); it has y \(60, 9\)"),
        ({"y": COUNTS, "to": TARGETS}, How(values=("y",), stimulus=("to",)), "needs the array of sessions"),
        ({"y": COUNTS, "to": TARGETS}, How(values=("z",), stimulus=("to",), windows=2), "has no array z; it has y"),
        ({"y": COUNTS, "to": TARGETS[:9]}, ROWS, "has 60 rows of y, and 9 entries of their stimulus"),
        ({"y": COUNTS, "to": COUNTS}, ROWS, "should have 1 axes in to"),
        ({"y": CUBE, "to": TARGETS}, ROWS, r"should have 2 axes in y; it has y \(4, 6, 5, 7\)"),
        ({"y": COUNTS.astype(object), "to": TARGETS}, ROWS, "y of x.npz holds Python objects, which are not read"),
        ({"y": COUNTS.astype(str), "to": TARGETS}, ROWS, "y of x.npz is of type <U.*, where numbers are needed"),
        ({"y": COUNTS, "to": np.full(60, np.nan)}, ROWS, "nothing in x.npz, y has a stimulus"),
        ({"y": CUBE, "weights_y": np.ones(4)}, How(), "should have at least 2 axes in weights_y"),
        ({"y": CUBE[:0]}, How(), r"holds nothing in y; it has y \(0, 6, 5, 7\)"),
        ({"y": COUNTS, "to": TARGETS}, How(**vars(ROWS) | {"windows": 0}), "trials cannot fall into 0 windows"),
        ({"y": CUBE}, How(values=("y", "y")), "two areas have one name: y"),
        ({"y": CUBE}, How(unit="u"), "x.npz has no use for unit: files of its kind take area, axes"),
        ({"y": CUBE}, How(session="s", windows=3), "either 's' or windows of trials, not both"),
        ({"y": CUBE}, How(classes="kinds"), "has no array kinds"),
        (
            {"y": COUNTS, "to": TARGETS, "n": np.zeros(60)},
            How(values=("y",), stimulus=("to",), trial=("n",), windows=2),
            "trial 0.0 of x.npz, y has more than one stimulus",
        ),
        (
            {"y": COUNTS, "z": COUNTS, "to": TARGETS},
            How(values=("y", "z"), stimulus=("to",)),
            "needs a stimulus for each of y, z, not to",
        ),
        (
            {"y": COUNTS, "z": COUNTS, "to": TARGETS},
            How(values=("y", "z"), stimulus=("to", "to"), windows=3),
            "leaves nothing to a session or to windows",
        ),
        (
            {"y": COUNTS, "to": TARGETS, "l": np.ones(4)},
            How(**vars(ROWS) | {"area": "l"}),
            "9 units in y, and 4 entries",
        ),
    ],
)
def test_arrays_that_cannot_be_read_are_said(tmp_path: Path, arrays: Any, how: How, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as raised:
        read([saved(tmp_path, "x.npz", **arrays)], how)
    assert "\n" not in str(raised.value)


def test_an_array_of_a_false_header_is_not_read(tmp_path: Path) -> None:
    """Neither one that says it is huge, nor one that has less than it says, nor two of one name, nor a pickle."""
    with pytest.raises(RequestError, match=r"y\.npy says that it is \(1000000000, 9, 9\)"):
        read([forged(tmp_path / "x.npz", "(1000000000, 9, 9)")])
    with pytest.raises(RequestError, match="is no npz file, or is cut off"):
        read([forged(tmp_path / "x.npz", "(2, 3, 9)", b"12345678")])
    with pytest.raises(RequestError, match="is no npz file, or is cut off"):
        read([forged(tmp_path / "x.npz", "(2, -3, 9)")])
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:  # brackets that never close
        file.writestr("y.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000)
    with pytest.raises(RequestError, match="is no npz file, or is cut off"):
        read([tmp_path / "x.npz"])
    with pytest.raises(RequestError, match="holds Python objects"):
        read([forged(tmp_path / "x.npz", "(2, 3, 9)", b"", "'|O'")], How(values=("y",)))
    np.save(content := io.BytesIO(), CUBE)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("M1.npy", content.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("M1.npy", content.getvalue())
    with pytest.raises(RequestError, match=r"two arrays .* of one name: M1"):
        read([tmp_path / "x.npz"])
    whole = saved(tmp_path, M1=CUBE).read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "x.npz").write_bytes(whole[:length])
        with pytest.raises(RequestError, match="is no npz file, or is cut off"):
            read([tmp_path / "x.npz"])
    at = len(whole) // 3
    (tmp_path / "x.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    with pytest.raises(RequestError, match=r"M1 of x.npz is damaged"):
        read([tmp_path / "x.npz"])


def test_what_is_larger_than_memory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    path = saved(tmp_path, M1=CUBE)
    table = written(tmp_path / "x.csv", long(CUBE))
    monkeypatch.setattr(memory, "available", lambda: 20_000)
    with pytest.raises(RequestError, match=r"M1 of monkey.npz would take 0.0 GB, and 0.0 GB of memory are free"):
        read([path])
    with pytest.raises(RequestError, match=r"this table, with a cell for each .* would take"):
        read([table])


# -- tables ------------------------------------------------------------------------------------------------------------
def long(cube: np.ndarray, **names: Sequence[Any]) -> pd.DataFrame:
    """A row for each value that is not NaN; the names of sessions, stimuli, trials or units in place of numbers."""
    keys = ("session", "stimulus", "trial", "unit")
    places = np.argwhere(np.isfinite(cube))
    columns = {key: np.asarray(names.get(key, range(cube.shape[at])))[places[:, at]] for at, key in enumerate(keys)}
    return pd.DataFrame(columns | {"value": cube[np.isfinite(cube)]})


def written(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, float_format="%.17g")
    return path


GAPS = CUBE.copy()
GAPS[1, 2] = np.nan  # a stimulus in one session
GAPS[2, :, :, 4] = np.nan  # a unit in another
GAPS[:, :, 4, 3] = np.nan  # a trial, of one unit


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_tables_are_the_arrays_that_they_list(
    tmp_path: Path, suffix: str, shuffled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of a few rows, too: numbers sort, whatever the order of rows."""
    monkeypatch.setattr(tables, "PIECE", 1 << 10)
    monkeypatch.setattr(tables, "PIECE_ROWS", 50)
    monkeypatch.setattr(tables, "PENDING", 100)
    frame = long(GAPS, stimulus=[5, 45, 90, 135, 180, 1000], unit=[3, 4, 5, 6, 10, 20, 100])
    if shuffled:
        frame = frame.sample(frac=1, random_state=0)
    same(read([written(tmp_path / f"monkey{suffix}", frame)]), Recording(GAPS), "115 trials", close=True)


def test_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    frame = long(CUBE, session=["2020-02-10", "2020-03-01", "2020-10-01", "2021-01-01"], unit=list("gfedcba"))
    frame["lobe"] = np.where(frame["unit"] > "c", "PMd", "M1")
    frame = frame.iloc[::-1].rename(
        columns={"session": "day", "stimulus": "to", "trial": "n", "unit": "u", "value": "v"}
    )
    how = How(values=("v",), stimulus=("to",), trial=("n",), session="day", unit="u", area="lobe")
    turned = CUBE[..., ::-1]
    wanted = Recording({"M1": turned[..., :3], "PMd": turned[..., 3:]})
    same(read([written(tmp_path / "x.csv", frame)], how), wanted, "120 trials", close=True)
    same(read([written(tmp_path / "x.parquet", frame)], how), wanted, "120 trials", close=True)
    typed = frame.assign(day=pd.to_datetime(frame["day"]), u=frame["u"].astype("category"))
    same(read([written(tmp_path / "x.parquet", typed)], how), wanted, "120 trials", close=True)


def test_sessions_that_are_words_come_as_they_come(tmp_path: Path) -> None:
    frame = long(CUBE, session=["tue", "mon", "wed", "b"])
    same(read([written(tmp_path / "x.csv", frame)]), Recording(CUBE), "120 trials", close=True)
    sorted_ = frame.astype({"session": "category"})  # pandas sorts the words of a category
    same(read([written(tmp_path / "x.parquet", sorted_)]), Recording(CUBE), "120 trials", close=True)


def test_sessions_that_are_numbers_sort_as_numbers(tmp_path: Path) -> None:
    """Of which some have more digits than a float, and others a fraction."""
    frame = long(CUBE, session=[100, 20, 3, 1], trial=range(10**18, 10**18 + 5), stimulus=[-5.5, 0, 2.25, 10, 20, 100])
    same(read([written(tmp_path / "x.csv", frame)]), Recording(CUBE[::-1]), "120 trials", close=True)


def test_windows_are_of_trials_in_their_order(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"trial": np.repeat(np.arange(60), 9), "unit": np.tile(np.arange(9), 60), "value": COUNTS.ravel()}
    )
    frame["stimulus"] = np.repeat(TARGETS, 9)
    path = written(tmp_path / "x.csv", frame.sample(frac=1, random_state=0))
    same(read([path], How(windows=5)), Recording.from_trials(COUNTS, stimuli=TARGETS, windows=5), "60 trials")
    path = written(tmp_path / "y.csv", frame.drop(columns="trial"))
    with pytest.raises(RequestError, match=r"windows are made of trials, and y.csv has no column of them; its columns"):
        read([path], How(windows=5))


def test_rows_without_a_trial_and_doubled_ones_are_averaged_and_said(tmp_path: Path) -> None:
    frame = long(CUBE)
    found = read([written(tmp_path / "x.csv", frame.drop(columns="trial"))])
    same(
        found,
        Recording(CUBE.mean(2)),
        "168 cells stand in more than one row, which are averaged",
        "24 trials",
        close=True,
    )
    twice = pd.concat([frame, frame.iloc[:3].assign(value=lambda x: x["value"] + 2)])
    raised = CUBE.copy()
    raised[0, 0, 0, :3] += 1
    said = "3 cells stand in more than one row, which are averaged"
    same(read([written(tmp_path / "x.csv", twice)]), Recording(raised), said, "120 trials", close=True)
    blank = pd.concat([frame, frame.iloc[:2].assign(stimulus=np.nan)])
    blank["area"] = np.where(blank["stimulus"].isna(), "V1", "area1")
    said = "2 rows have no stimulus and are left out"
    same(read([written(tmp_path / "x.csv", blank)]), Recording(CUBE), said, "120 trials", close=True)
    same(read([written(tmp_path / "x.parquet", blank)]), Recording(CUBE), said, "120 trials", close=True)


def test_what_is_kept_of_a_table_is_its_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often each stands in it."""
    seen, whole = list[int](), tables._added_up
    monkeypatch.setattr(tables, "PIECE_ROWS", 840)
    monkeypatch.setattr(tables, "PENDING", 100)
    monkeypatch.setattr(tables, "_added_up", lambda table: whole(table.slice(seen.append(table.num_rows) or 0)))
    path = written(tmp_path / "x.parquet", pd.concat([long(CUBE)] * 30))
    said = "840 cells stand in more than one row, which are averaged"
    same(read([path]), Recording(CUBE), said, "120 trials", close=True)
    assert max(seen) <= 5 * 840


def test_several_tables_are_one(tmp_path: Path) -> None:
    """Whose units are others in each session, unless it is said that they are not."""
    ragged = CUBE.copy()
    ragged[0, :, :, 5:] = np.nan
    frame = long(ragged)
    paths = [written(tmp_path / f"{at}.csv", frame[frame["session"] // 2 == at]) for at in (0, 1)]
    same(read(paths, How(followed=True)), Recording(ragged), "120 trials", close=True)
    found = read(paths)
    assert found.notes == (
        "units of several files are taken to be others in each session (say followed if they are the same)",
        "120 trials",
    )
    assert [y.shape for y in found.areas[0].activity] == [(6, 5), (6, 7), (6, 7), (6, 7)]
    np.testing.assert_allclose(found.areas[0].activity[0], CUBE[0, :, :, :5].mean(1), rtol=1e-5)
    assert not found.followed


GOOD = "session,stimulus,trial,unit,value\n1,a,1,1,2.5\n"


@pytest.mark.parametrize(
    ("text", "how", "sentence"),
    [
        (
            "session,stimulus,unit\n1,a,1\n",
            How(),
            "no column 'value' .value.; its columns are session, stimulus, unit",
        ),
        (GOOD, How(session="day"), "no column 'day' .session.; its columns are session, stimulus, trial, unit"),
        (GOOD, How(area="lobe"), "no column 'lobe' .area."),
        (GOOD + "1,a,1,2,high\n", How(), "value of x.csv holds text where numbers are needed: .*high"),
        (GOOD + "1,a,1,2,inf\n", How(), "value of x.csv holds infinite values"),
        (GOOD.splitlines()[0] + "\n", How(), "x.csv: there is no row to read"),
        (GOOD.replace("1,a", ",a"), How(), "there is no row to read; 1 rows have no session and are left out"),
        ("", How(), "x.csv is empty"),
        ("session,value,stimulus,unit,value\n1,1,1,1,1\n", How(), "more than one column 'value'"),
        (GOOD + "1,a,1\n", How(), "x.csv is damaged, cut off, or no such table"),
        (GOOD, How(stimulus=("a", "b")), "x.csv takes one stimulus, not 2: a, b"),
        (GOOD, How(axes="units"), "x.csv has no use for axes"),
        (GOOD, How(), "1 sessions are left|1 stimuli are left"),
    ],
)
def test_tables_that_cannot_be_read_are_said(tmp_path: Path, text: str, how: How, sentence: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(RequestError, match=sentence) as raised:
        read([tmp_path / "x.csv"], how)
    assert "\n" not in str(raised.value)


def test_damaged_tables_are_said(tmp_path: Path) -> None:
    whole = written(tmp_path / "y.parquet", long(CUBE)).read_bytes()
    for length in (0, 100, len(whole) - 20):
        (tmp_path / "x.parquet").write_bytes(whole[:length])
        with pytest.raises(RequestError, match=r"x.parquet is damaged, cut off, or no such table"):
            read([tmp_path / "x.parquet"])
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(long(CUBE).to_csv(index=False).encode())[:4000])
    with pytest.raises(RequestError, match=r"x.csv.gz is damaged"):
        read([tmp_path / "x.csv.gz"])
    (tmp_path / "x.csv").write_bytes(GOOD.encode() + b"1,\xff,1,1,3\n")
    with pytest.raises(RequestError, match=r"x.csv is damaged"):
        read([tmp_path / "x.csv"])
    pq.write_table(pa.table({name: [["a"]] for name in tables.KEYS} | {"value": ["b"]}), tmp_path / "x.parquet")
    with pytest.raises(RequestError, match=r"column 'session' of x.parquet holds list.* where one thing is needed"):
        read([tmp_path / "x.parquet"])
    written(tmp_path / "x.parquet", long(CUBE).astype({"value": str}))
    with pytest.raises(RequestError, match=r"value of x.parquet holds text where numbers are needed"):
        read([tmp_path / "x.parquet"])


# -- NWB ---------------------------------------------------------------------------------------------------------------
def nwb(
    path: Path,
    stimuli: Sequence[Any],
    *,
    spikes: Sequence[np.ndarray] | None = None,
    units: Mapping[str, Sequence[Any]] | None = None,
    series: Mapping[str, Any] | None = None,
    day: datetime.datetime = DAY,
    **columns: Sequence[Any],
) -> Path:
    """A file with trials of half a second, one each second."""
    import pynwb

    file = pynwb.NWBFile(session_description="a test", identifier="x", session_start_time=day)
    for name in ("target", *columns) if len(stimuli) else ():
        file.add_trial_column(name=name, description=name)
    for at, stimulus in enumerate(stimuli):
        more = {name: column[at] for name, column in columns.items()}
        file.add_trial(start_time=float(at), stop_time=at + 0.5, target=stimulus, **more)
    for name in units or {}:
        if name != "obs_intervals":
            file.add_unit_column(name=name, description=name)
    for at, times in enumerate(spikes or ()):
        file.add_unit(spike_times=times, **{name: column[at] for name, column in (units or {}).items()})
    if series:
        regions(file, series)
    with pynwb.NWBHDF5IO(str(path), "w") as out:
        out.write(file)
    return path


def regions(file: Any, series: Mapping[str, Any]) -> None:
    """Series of regions of interest: `DfOverF` or `Fluorescence` by name, each with what its series takes."""
    from pynwb import ophys

    device = file.create_device(name="scope")
    channel = ophys.OpticalChannel(name="green", description="green", emission_lambda=500.0)
    plane = file.create_imaging_plane(
        name="plane", optical_channel=channel, description="one", device=device, excitation_lambda=900.0,
        indicator="GCaMP", location="V1",
    )  # fmt: skip
    module = file.create_processing_module(name="ophys", description="imaging")
    table = ophys.PlaneSegmentation(name="cells", description="cells", imaging_plane=plane)
    count = next(iter(series.values()))["data"].shape[1]
    table.add_column(name="layer", description="layer")
    for at in range(count):
        table.add_roi(pixel_mask=[(at, 0, 1.0)], layer=["L2", "L5"][at % 2])
    module.add(ophys.ImageSegmentation(name="ImageSegmentation", plane_segmentations=[table]))
    for kind, given in series.items():
        rois = table.create_roi_table_region(region=list(range(count)), description="all")
        module.add(holder := getattr(ophys, kind)(name=kind))
        holder.add_roi_response_series(
            ophys.RoiResponseSeries(name="RoiResponseSeries", rois=rois, unit="n.a.", **given)
        )


def trains(counts: np.ndarray, width: float = 0.5) -> list[np.ndarray]:
    """Spike times of each unit, so many in each trial, and one between any two trials."""
    found = []
    for unit in counts.T.astype(int):
        times = [at + width * (np.arange(count) + 0.5) / count for at, count in enumerate(unit) if count]
        found.append(np.sort(np.concatenate([*times, np.arange(len(unit)) + 0.75])))
    return found


BY_BLOCK = How(stimulus=("target",), session="block")


def test_spikes_of_units_become_rates_of_trials(tmp_path: Path) -> None:
    lobes = list("aabbbaabb")
    path = nwb(tmp_path / "x.nwb", TARGETS, spikes=trains(COUNTS), units={"lobe": lobes}, block=BLOCKS)
    wanted = Recording.from_trials(2 * COUNTS, stimuli=TARGETS, sessions=BLOCKS)
    same(read([path], BY_BLOCK), wanted, "60 trials")
    same(read([path], How(stimulus=("target",), windows=5, values=("units",))),
         Recording.from_trials(2 * COUNTS, stimuli=TARGETS, windows=5), "60 trials")  # fmt: skip
    by_lobe = {"a": COUNTS[:, [0, 1, 5, 6]], "b": COUNTS[:, [2, 3, 4, 7, 8]]}
    wanted = Recording.from_trials(by_lobe, stimuli=TARGETS, sessions=BLOCKS)
    found = read([path], How(stimulus=("target",), session="block", area="lobe", bins=(-0.5, 0.5)))
    shifted = {area: np.r_[table[:1], table[1:] + 1] for area, table in by_lobe.items()}  # the spike at −0.25 s
    same(found, Recording.from_trials(shifted, stimuli=TARGETS, sessions=BLOCKS), "60 trials")


def test_a_unit_is_missing_where_it_was_not_observed(tmp_path: Path) -> None:
    seen = [[[0.0, 100.0]]] * 8 + [[[0.0, 10.2], [11.0, 100.0]]]
    path = nwb(tmp_path / "x.nwb", TARGETS, spikes=trains(COUNTS), units={"obs_intervals": seen}, block=BLOCKS)
    rates = 2 * COUNTS
    rates[10, 8] = np.nan
    same(read([path], BY_BLOCK), Recording.from_trials(rates, stimuli=TARGETS, sessions=BLOCKS), "60 trials")


@pytest.mark.parametrize("timed", [False, True])
def test_fluorescence_is_averaged_over_the_samples_of_a_trial(tmp_path: Path, timed: bool) -> None:
    """Ten samples a second, of which five lie in a trial; what lies between trials, or is NaN, counts for nothing."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=(60, 6))
    data = np.full((600, 6), 1e3)
    noise = rng.normal(size=(60, 5, 6))
    noise -= noise.mean(1, keepdims=True)
    for trial in range(60):
        data[10 * trial : 10 * trial + 5] = means[trial] + noise[trial]
    when = {"timestamps": np.arange(600) / 10} if timed else {"rate": 10.0, "starting_time": 0.0}
    series = {"DfOverF": when | {"data": data}}
    path = nwb(tmp_path / "x.nwb", list(map(str, TARGETS)), series=series, block=BLOCKS)
    wanted = Recording.from_trials(means, stimuli=TARGETS.astype(str), sessions=BLOCKS)
    same(read([path], BY_BLOCK), wanted, "60 trials", close=True)
    by_layer = Recording.from_trials(
        {"L2": means[:, ::2], "L5": means[:, 1::2]}, stimuli=TARGETS.astype(str), sessions=BLOCKS
    )
    how = How(stimulus=("target",), session="block", area="layer", values=("DfOverF/RoiResponseSeries",))
    same(read([path], how), by_layer, "60 trials", close=True)
    measured = {"DfOverF": when | {"data": data, "conversion": 2.0, "offset": -1.0}}
    path = nwb(tmp_path / "y.nwb", list(map(str, TARGETS)), series=measured, block=BLOCKS)
    wanted = Recording.from_trials(2 * means - 1, stimuli=TARGETS.astype(str), sessions=BLOCKS)
    same(read([path], BY_BLOCK), wanted, "60 trials", close=True)


def test_a_trial_that_begins_with_a_sample_has_it(tmp_path: Path) -> None:
    """At 30 Hz, (8 + 8/30) · 30 is a little more than 248."""
    data = np.random.default_rng(1).normal(size=(1800, 6))
    path = nwb(tmp_path / "x.nwb", TARGETS, series={"DfOverF": {"data": data, "rate": 30.0}}, block=BLOCKS)
    found = read([path], How(stimulus=("target",), session="block", bins=(7 / 30, 8 / 30)))
    same(found, Recording.from_trials(data[7::30], stimuli=TARGETS, sessions=BLOCKS), "60 trials")


def test_of_several_series_one_has_to_be_named(tmp_path: Path) -> None:
    """A part of its path will do, if it is of one alone; two become areas, if their names differ."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=(600, 6))
    series = {kind: {"data": data * scale, "rate": 10.0} for kind, scale in (("DfOverF", 1), ("Fluorescence", 5))}
    path = nwb(tmp_path / "x.nwb", TARGETS, spikes=trains(COUNTS), series=series, block=BLOCKS)
    listed = "Units, ophys/DfOverF/RoiResponseSeries, ophys/Fluorescence/RoiResponseSeries"
    with pytest.raises(RequestError, match=rf"say which .values., of {listed}"):
        read([path], BY_BLOCK)
    with pytest.raises(RequestError, match=f"more than one 'RoiResponseSeries' to read; it holds {listed}"):
        read([path], How(**vars(BY_BLOCK) | {"values": ("RoiResponseSeries",)}))
    with pytest.raises(RequestError, match=f"no 'LFP' to read; it holds {listed}"):
        read([path], How(**vars(BY_BLOCK) | {"values": ("LFP",)}))
    both = ("DfOverF/RoiResponseSeries", "Fluorescence/RoiResponseSeries")
    with pytest.raises(RequestError, match=r"two areas of x.nwb have one name: RoiResponseSeries"):
        read([path], How(**vars(BY_BLOCK) | {"values": both}))
    found = read([path], How(**vars(BY_BLOCK) | {"values": ("Units", both[1])}))
    assert [one.name for one in found.areas] == ["Units", "RoiResponseSeries"]
    means = np.array([5 * data[10 * trial : 10 * trial + 5].mean(0) for trial in range(60)])
    wanted = Recording.from_trials({"Units": 2 * COUNTS, "RoiResponseSeries": means}, stimuli=TARGETS, sessions=BLOCKS)
    same(found, wanted, "60 trials", close=True)


def test_each_of_several_files_is_a_session(tmp_path: Path) -> None:
    paths = [
        nwb(
            tmp_path / f"{name}.nwb",
            TARGETS[:20],
            spikes=trains(COUNTS[np.flatnonzero(name == BLOCKS)]),
            day=DAY + datetime.timedelta(days=days),
        )
        for name, days in (("tue", 1), ("mon", 0), ("wed", 2))
    ]
    how = How(stimulus=("target",))
    wanted = Recording.from_trials(2 * COUNTS, stimuli=np.tile(TARGETS[:20], 3), sessions=BLOCKS, followed=False)
    said = "units of several files are taken to be others in each session (say followed if they are the same)"
    found = read(paths, how)
    order = "the files are not in the order of their dates: sessions stand in the order in which the files were given"
    same(found, wanted, order, said, "60 trials")
    assert found.name == "tue"
    mon = [paths[1], paths[0], paths[2]]
    assert read(mon, how).notes[0] == said
    with pytest.raises(RequestError, match="each of several NWB files is a session"):
        read(paths, BY_BLOCK)


@HERE
def test_counts_of_a_monkey_come_back_from_spikes_within_its_bins(tmp_path: Path) -> None:
    golub = np.load(RECORDINGS / "golub-monkey-bci.npz")
    counts = np.concatenate([golub["before_counts"][::4], golub["after_counts"][::4]]).astype(float)
    targets = np.concatenate([golub["before_target_degrees"][::4], golub["after_target_degrees"][::4]])
    parts = np.repeat(["before", "after"], 138)
    path = nwb(tmp_path / "x.nwb", targets, spikes=trains(counts), block=parts)
    wanted = Recording.from_trials(2 * counts, stimuli=targets, sessions=parts)
    same(read([path], BY_BLOCK), wanted, "276 trials")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of four trials."""
    path = tmp_path_factory.mktemp("small") / "x.nwb"
    return nwb(path, TARGETS[:4], spikes=trains(COUNTS[:4]), block=BLOCKS[:4]).read_bytes()


def late(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        times = file["units/spike_times"][:]
        end = file["units/spike_times_index"][2]
        times[end - 1] = 0
        file["units/spike_times"][:] = times


def edited(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return edit


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def elsewhere(file: Any) -> None:
    del file["units/spike_times"]
    layout = h5py.VirtualLayout(shape=(10,), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", shape=(10,))
    file.create_virtual_dataset("units/spike_times", layout)


def outside(file: Any) -> None:
    del file["trials/start_time" if "trials" in file else "intervals/trials/start_time"]
    file["intervals/trials"].create_dataset("start_time", (4,), "f8", external=[("/etc/hostname", 0, 32)])


@pytest.mark.parametrize(
    ("change", "how", "sentence"),
    [
        (late, BY_BLOCK, "spike times of unit 2 of x.nwb are out of order"),
        (cut, BY_BLOCK, "x.nwb is no NWB file that can be read, or is cut off"),
        (edited(lambda f: f.attrs.modify("nwb_version", "3.0.0")), BY_BLOCK, "is of NWB 3.0.0, and .* --upgrade pynwb"),
        (edited(lambda f: f.attrs.modify("nwb_version", "1.0")), BY_BLOCK, "is of NWB 1.0, and the installed pynwb reads"),
        (edited(lambda f: f.attrs.pop("nwb_version")), BY_BLOCK, "is no NWB file: it does not say of which version"),
        (edited(lambda f: f.pop("intervals")), BY_BLOCK, "x.nwb has no trials"),
        (edited(lambda f: f.pop("identifier")), BY_BLOCK, "x.nwb cannot be read as NWB"),
        (
            edited(lambda f: f.__setitem__("scratch", h5py.ExternalLink("/etc/passwd.nwb", "/x"))),
            BY_BLOCK,
            "leads to another file at /scratch, which is not followed: /etc/passwd.nwb",
        ),
        (edited(elsewhere), BY_BLOCK, "keeps its data /units/spike_times in another file"),
        (edited(outside), BY_BLOCK, "keeps its data /intervals/trials/start_time in another file"),
        (edited(lambda f: f.pop("units")), BY_BLOCK, "neither spike times of units nor a two-dimensional series"),
        (None, How(windows=2), r"\(stimulus\); columns of its trials are start_time, stop_time, target, block"),
        (None, How(stimulus=("to",), windows=2), "no column 'to' of trials; there are start_time"),
        (None, How(stimulus=("target",)), "is one file: name the column of its sessions"),
        (None, How(stimulus=("target",), session="day"), "no column 'day' of trials; there are start_time"),
        (None, How(stimulus=("target",), windows=2, area="location"), "no column 'location' of units or of their electrodes"),
        (None, How(stimulus=("target",), windows=2, bins=(0.3, 0.1)), "bins must begin before they end, not 0.3 to 0.1 s"),
        (None, How(stimulus=("target",), windows=2, trial=("n",)), "x.nwb has no use for trial"),
    ],
)  # fmt: skip
def test_nwb_files_that_cannot_be_read_are_said(
    tmp_path: Path, small: bytes, change: Callable[[Path], None] | None, how: How, sentence: str
) -> None:
    (path := tmp_path / "x.nwb").write_bytes(small)
    if change is not None:
        change(path)
    with pytest.raises(RequestError, match=sentence) as raised:
        read([path], how)
    assert "\n" not in str(raised.value)
    os.rename(path, tmp_path / "closed.nwb")
    with h5py.File(tmp_path / "closed.nwb", "r+") if change is not cut else open(os.devnull):  # nobody holds it
        pass


def test_a_newer_file_that_can_be_read_is_noted(tmp_path: Path) -> None:
    path = nwb(tmp_path / "x.nwb", TARGETS, spikes=trains(COUNTS), block=BLOCKS)
    with h5py.File(path, "r+") as file:
        file.attrs["nwb_version"] = "2.99.0"
    assert read([path], BY_BLOCK).notes[0].startswith("x.nwb is of NWB 2.99.0, newer than 2.")


def test_areas_are_where_a_units_electrodes_are(tmp_path: Path) -> None:
    import pynwb

    file = pynwb.NWBFile(session_description="a test", identifier="x", session_start_time=DAY)
    group = file.create_electrode_group(
        name="shank", description="s", location="here", device=file.create_device(name="probe")
    )
    for place in ("M1", "M1", "PMd"):
        file.add_electrode(group=group, location=place)
    file.add_trial_column(name="target", description="target")
    for at, stimulus in enumerate(TARGETS):
        file.add_trial(start_time=float(at), stop_time=at + 0.5, target=stimulus)
    seen = [[0], [2], [2, 0, 1], [2], [2], [1], [0], [2], [1, 0]]
    for times, electrodes in zip(trains(COUNTS), seen, strict=True):
        file.add_unit(spike_times=times, electrodes=electrodes)
    with pynwb.NWBHDF5IO(str(tmp_path / "x.nwb"), "w") as out:
        out.write(file)
    areas = {"M1": 2 * COUNTS[:, [0, 2, 5, 6, 8]], "PMd": 2 * COUNTS[:, [1, 3, 4, 7]]}
    found = read([tmp_path / "x.nwb"], How(stimulus=("target",), windows=4, area="location"))
    same(found, Recording.from_trials(areas, stimuli=TARGETS, windows=4), "60 trials")


def test_without_pynwb_a_sentence_says_what_to_install(
    tmp_path: Path, small: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "x.nwb").write_bytes(small)
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(RequestError, match=r"NWB files need pynwb: pip install 'rulescope\[nwb\]'"):
        read([path], BY_BLOCK)


# -- the door ----------------------------------------------------------------------------------------------------------
def test_files_that_are_none_or_of_no_kind_or_of_two_are_refused(tmp_path: Path) -> None:
    known = r"\.npz, \.csv, \.csv\.gz, \.parquet, \.nwb"
    npz, table = saved(tmp_path, M1=CUBE), written(tmp_path / "x.csv", long(CUBE))
    for files, sentence in (
        ([], "no file to read"),
        ([tmp_path / "y.npz"], "there is no file .*y.npz"),
        ([tmp_path / "y.mat"], f"y.mat is no recording that can be read: files end in one of {known}"),
        ([npz, table], f"are files of different kinds: read those of one .{known}."),
    ):
        with pytest.raises(RequestError, match=sentence):
            read(files)
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(RequestError, match=r"d\.npz is no file"):
        read([tmp_path / "d.npz"])


def test_the_command_says_what_it_takes() -> None:
    found = subprocess.run(
        [sys.executable, "-P", "-c", "import rulescope; rulescope.main()", "record", "--help"],
        capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    for option in (*(name.replace("_", "-") for name in How.__dataclass_fields__), "not-followed", "out"):
        assert f"--{option}" in found.stdout
