"""What networks learn from is part of what they are: the same files are the same task wherever they lie, others are another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from real_sets import picture

from generator.curricula import hub, tasks
from generator.curricula.pinned import Pinned, fingerprint, shown
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import generate
from generator.running.merge import merge
from generator.running.rerun import rerun
from generator.running.status import status
from generator.running.verify import problems
from generator.spec import spec as specs
from generator.spec.planning import plan
from generator.spec.spec import parse

pytestmark = pytest.mark.usefixtures("alone")

SPEC = """
name = "x"
checkpoints = 2
probe = 2
[[grid]]
task = "{task}"
architecture = "mlp2"
rule = "sgdm"
pixels = 8
width = 0.0625
batch_size = 2
epochs = 1
"""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four pictures of each of two classes to learn from, one of each to test on."""
    for part, count in (("train", 4), ("test", 1)):
        for label in range(2):
            folder = tmp_path / "pairs" / part / "ab"[label]
            folder.mkdir(parents=True)
            for i in range(count):
                picture(8, 8, 10 * label + i + (part == "test") * 100).save(folder / f"{i}.bmp")
    return tmp_path / "pairs"


def text(root: Path | str, more: str = "") -> str:
    return SPEC.format(task=f"folder:{root}") + more


def repaint(file: Path) -> None:
    """Another picture of as many bytes, and as old."""
    before = file.stat()
    picture(8, 8, 1000).save(file)
    assert file.stat().st_size == before.st_size


def measured(dataset: Path) -> np.ndarray:
    return Dataset(dataset).read_kind("observables").to_pandas().select_dtypes("number").to_numpy(np.float64)


def test_a_fingerprint_is_of_names_sizes_and_contents(tmp_path: Path) -> None:
    files = [str(tmp_path / "set" / name) for name in "abc"]
    (tmp_path / "set").mkdir()
    for file in files:
        Path(file).write_bytes(b"12345")
    first = fingerprint(tmp_path / "set", files)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    assert fingerprint(tmp_path / "copy", [str(tmp_path / "copy" / name) for name in "abc"]) == first
    assert fingerprint(tmp_path, files) != first  # other names
    assert fingerprint(tmp_path / "set", files[:2]) != first
    large = fingerprint(tmp_path / "set", files, whole=8)  # of 15 bytes: every other file is read
    for place, noticed in ((0, True), (1, False), (2, True)):
        Path(files[place]).write_bytes(b"1234x")
        assert fingerprint(tmp_path / "set", files) != first
        assert (fingerprint(tmp_path / "set", files, whole=8) != large) == noticed
        Path(files[place]).write_bytes(b"12345")
    Path(files[1]).write_bytes(b"123456")
    assert fingerprint(tmp_path / "set", files, whole=8) != large


def test_a_pinned_name_is_text_and_is_read_back() -> None:
    pin = Pinned("folder:/a b/c#1-2\n", 3, 2, 40, 12, "0123456789abcdef")
    assert str(pin) == "folder:/a b/c#1-2\n#3-2-40-12-0123456789abcdef"
    assert Pinned.of(str(pin)) == pin
    assert shown(str(pin)) == pin.name
    for name in ("digits", "folder:/a#b", "folder:/a#3-2-40-12-0123", "hub:a/b"):
        assert Pinned.of(name) is None
        assert shown(name) == name


def test_a_moved_folder_gives_the_same_networks_and_numbers(pairs: Path, tmp_path: Path) -> None:
    generate(parse(text(pairs)), tmp_path / "one", workers=0)
    first = parse(text(pairs)).networks[0]
    assert first.task == f"folder:{Pinned.of(first.data).fingerprint}"  # type: ignore[union-attr]
    pairs.rename(tmp_path / "moved")
    spec = parse(text(tmp_path / "moved"))
    assert [network.network_id for network in spec.networks] == [first.network_id]
    generate(spec, tmp_path / "two", workers=0)
    np.testing.assert_array_equal(measured(tmp_path / "one"), measured(tmp_path / "two"))
    assert generate(spec, tmp_path / "one", workers=0).done_now == 0
    assert dict(plan(spec).counts) == {("sgdm", "mlp2", f"folder:{tmp_path}/moved", "supervised"): 1}


def test_a_folder_is_relative_to_the_spec_file(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/x.toml").write_text(text("../pairs"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert specs.read("../specs/x.toml").networks == parse(text(pairs)).networks
    assert specs.read(tmp_path / "specs/x.toml").networks == parse(text(pairs)).networks
    (tmp_path / "specs/x.toml").write_text(text("birds"))
    shutil.copytree(pairs, "birds")  # is not what the spec means
    with pytest.raises(RequestError, match=f"folder:{tmp_path}/specs/birds is not there"):
        specs.read("../specs/x.toml")
    assert shown(parse(text("birds")).networks[0].data) == f"folder:{tmp_path}/elsewhere/birds"


def test_data_that_has_changed_is_refused_and_what_was_made_can_be_used(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    generate(parse(text(pairs)), out, workers=0)
    (network,) = parse(text(pairs)).networks
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    kept = (pairs / "train/a/0.bmp").read_bytes()
    repaint(pairs / "train/a/0.bmp")
    with pytest.raises(RequestError, match=f"folder:{pairs} has changed since {out} was made: bring its files back"):
        generate(parse(text(pairs, "seeds = 2\n")), out, workers=0)
    with pytest.raises(RequestError, match=f"folder:{pairs} has changed: its files are not those"):
        rerun(out, network.network_id, device="cpu")
    pairs.rename(tmp_path / "away")
    assert problems(Dataset(out)) == []
    assert status(Dataset(out)).networks == status(Dataset(out)).recorded == 1
    with pytest.raises(RequestError, match=f"folder:{pairs} is not there"):
        rerun(out, network.network_id, device="cpu")
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    (tmp_path / "away").rename(pairs)
    (pairs / "train/a/0.bmp").write_bytes(kept)
    assert rerun(out, network.network_id, device="cpu").difference < 1e-4
    assert generate(parse(text(pairs, "seeds = 2\n")), out, workers=0).done_now == 3


def test_data_that_is_the_same_everywhere_is_refused_before_anything_is_written(pairs: Path, tmp_path: Path) -> None:
    for file in pairs.rglob("*.bmp"):
        Image.new("RGB", (8, 8), (51, 51, 51)).save(file)
    with pytest.raises(
        RequestError, match=r"every number of every stimulus of folder:.*pairs is 0.2: there is nothing"
    ):
        generate(parse(text(pairs)), tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_data_of_which_what_is_looked_at_is_the_same_is_not_refused(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "GLANCE", 2)  # the first and the last
    for file in ("train/a/0.bmp", "train/b/3.bmp"):
        Image.new("RGB", (8, 8)).save(pairs / file)
    assert generate(parse(text(pairs)), tmp_path / "out", workers=0).states == {"complete": 1}


def test_no_cache_gives_the_images_of_before(pairs: Path, tmp_path: Path) -> None:
    """One process makes both datasets, as a worker that lives long does."""
    generate(parse(text(pairs)), tmp_path / "one", workers=0)
    old = parse(text(pairs)).networks[0]
    before = tasks.load(old.data, 8).train.read(np.arange(8))
    for file in (pairs / "train").rglob("*.bmp"):
        Image.eval(Image.open(file), lambda value: value**2 // 255).save(file)
    generate(parse(text(pairs)), tmp_path / "two", workers=0)
    new = parse(text(pairs)).networks[0]
    assert old.network_id != new.network_id
    assert not np.array_equal(measured(tmp_path / "one"), measured(tmp_path / "two"))
    after = tasks.load(new.data, 8).train.read(np.arange(8))
    assert not np.array_equal(before, after)
    tasks.load.cache_clear()
    np.testing.assert_array_equal(tasks.load(new.data, 8).train.read(np.arange(8)), after)
    with pytest.raises(RequestError, match="has changed"):  # a worker that begins to read too late
        tasks.load(old.data, 8)


def test_datasets_on_the_same_files_are_merged_and_those_on_others_too(pairs: Path, tmp_path: Path) -> None:
    generate(parse(text(pairs)), tmp_path / "one", workers=0)
    repaint(pairs / "train/a/0.bmp")
    generate(parse(text(pairs)), tmp_path / "two", workers=0)
    merged = merge(tmp_path / "both", [tmp_path / "one", tmp_path / "two"])
    assert merged.networks() == len(parse(merged.read("spec.toml").decode()).networks) == 2
    assert problems(merged) == []


def test_a_network_that_a_dataset_no_longer_describes_is_not_rerun(pairs: Path, tmp_path: Path) -> None:
    generate(parse(text(pairs)), tmp_path / "out", workers=0)
    (network,) = parse(text(pairs)).networks
    (tmp_path / "out/spec.toml").write_text(text(pairs, "learning_rate = 2.0\n"))
    with pytest.raises(RequestError, match=r"spec.toml no longer gives the network"):
        rerun(tmp_path / "out", network.network_id, device="cpu")


def test_a_set_on_the_hub_keeps_its_name_and_is_refused_when_another_copy_comes(
    tiny: Callable[..., str], tmp_path: Path
) -> None:
    spec = parse(SPEC.format(task=tiny()))
    assert spec.networks[0].task == "hub:someone/Tiny"
    assert Pinned.of(spec.networks[0].data)[:5] == ("hub:someone/Tiny", 3, 3, 5, 2)  # type: ignore[index]
    generate(spec, tmp_path / "out", workers=0)
    assert status(Dataset(tmp_path / "out")).networks == 1
    tiny(commit="4567")
    with pytest.raises(RequestError, match="hub:someone/Tiny has changed since"):
        generate(parse(SPEC.format(task="hub:someone/Tiny")), tmp_path / "out", workers=0)
    shutil.rmtree(hub._cache())
    assert status(Dataset(tmp_path / "out")).networks == 1
