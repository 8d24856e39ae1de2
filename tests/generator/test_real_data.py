"""A dataset from files on disk: pictures and sounds of a tiny folder, from the spec to verified Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from generator.curricula import tasks
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import generate
from generator.running.verify import problems
from generator.spec.spec import parse

pytestmark = pytest.mark.unchecked

RATE = 16_000


@pytest.fixture(autouse=True)
def _forget() -> None:
    tasks.info.cache_clear()
    tasks.load.cache_clear()


def pictures(folder: Path) -> None:
    """Two classes of small colour pictures, brighter on the left or on the right."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 6)):
        for side, name in enumerate(("left", "right")):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 120, (30, 34, 3), dtype=np.uint8)
                image[:, 17 * side : 17 * side + 17] += 100
                Image.fromarray(image).save(folder / part / name / f"{i}.png")


def sounds(folder: Path) -> None:
    """Two classes of tones, low or high."""
    time = np.arange(RATE // 4) / RATE
    for part, count in (("train", 20), ("test", 6)):
        for pitch, name in ((300, "low"), (2500, "high")):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                wave = 0.3 * np.sin(2 * np.pi * (pitch + 10 * i) * time)
                soundfile.write(folder / part / name / f"{i}.wav", wave, RATE)


def text(folder: Path, architecture: str, objective: str = "supervised") -> str:
    return f"""
name = "real"
checkpoints = 3
probe = 12
[[grid]]
task = "folder:{folder}"
architecture = "{architecture}"
objective = "{objective}"
rule = ["sgdm", "fa"]
pixels = 16
width = 0.125
batch_size = 8
epochs = 12
learning_rate = 4.0
"""


@pytest.mark.parametrize(
    ("write", "architecture", "objective"),
    [(pictures, "knet4", "supervised"), (sounds, "resnet18", "supervised"), (pictures, "resnet18v2", "simclr")],
)
def test_a_folder_of_files_becomes_a_dataset(write, architecture: str, objective: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "data")
    several = text(tmp_path / "data", architecture, objective) + "seeds = 2\n"  # one may be unlucky
    summary = generate(parse(several), tmp_path / "out", workers=0)
    assert summary.states == {"complete": 8}
    assert problems(Dataset(tmp_path / "out")) == []
    assert not [path for path in (tmp_path / "out" / "networks").iterdir() if path.is_dir()]
    again = generate(parse(several), tmp_path / "out", workers=0)
    assert again.done_now == 0
    rows = pd.read_parquet(tmp_path / "out" / "observables")
    last = rows[(rows["checkpoint"] == 2) & (rows["rule"] == "sgdm")].groupby("network_id")["probe_accuracy"].first()
    assert len(last) == 4
    assert last.mean() >= 0.75


def test_streamed_and_resident_files_give_the_same_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "data")
    spec = parse(text(tmp_path / "data", "knet4"))
    generate(spec, tmp_path / "resident", workers=0)
    tasks.load.cache_clear()
    monkeypatch.setattr(tasks, "SMALL", 0)
    generate(spec, tmp_path / "streamed", workers=0)
    tables = [pd.read_parquet(tmp_path / name / "observables") for name in ("resident", "streamed")]
    numbers = [table.select_dtypes("number").to_numpy(np.float64) for table in tables]
    np.testing.assert_allclose(*numbers, rtol=2e-3, atol=1e-4)


def test_a_data_set_has_one_identity_however_it_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    names = [f"folder:{tmp_path}/data", f"folder:{tmp_path}/data/", f"folder:{tmp_path}/other/../data"]
    found = {
        parse(text(tmp_path, "knet4").replace(f"folder:{tmp_path}", name)).networks[0].network_id for name in names
    }
    assert len(found) == 1
    short, long = (
        parse(text(tmp_path, "knet4").replace(f"folder:{tmp_path}", name)).networks[0].network_id
        for name in ("hub:cifar10", "hub:uoft-cs/cifar10")
    )
    assert short == long


def test_data_that_cannot_be_read_is_said_before_anything_is_written(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    for file in (tmp_path / "data" / "test" / "left").iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(RequestError, match=r"cannot read .*test/left/0.png"):
        generate(parse(text(tmp_path / "data", "knet4")), tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_missing_data_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    spec = parse(text(tmp_path, "knet4").replace(f"folder:{tmp_path}", "hub:cifar10"))
    with pytest.raises(RequestError, match="load_dataset"):
        generate(spec, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()
