"""`rulescope compact`: the same rows in few files, each in one place whatever dies, and back again where a file is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from counted import Killed, counted

from classifier.examples.trajectories import load
from generator.dataset.layout import INDEX
from generator.dataset.schema import KINDS
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running import compact as compacting
from generator.running.compact import alone, compact
from generator.running.generate import generate
from generator.running.verify import problems
from generator.spec.spec import parse

SPEC = 'name = "x"\ncheckpoints = 3\nprobe = 16\n[[electrode]]\nunits = 4\nnoise = [0.0, 0.5]\n[[grid]]\n'
SPEC += 'task = "digits"\narchitecture = ["mlp2", "mlp3"]\nlearning_rate = [1.0, 1e6]\nepochs = 1\n'
SPEC += "batch_size = [100, 200]\n"
FEW, MORE = SPEC + 'rule = ["sgdm", "fa"]\n', SPEC + 'rule = ["sgdm", "fa", "adam"]\n'


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight cohorts in files of their own; of each two networks, one has diverged."""
    place = tmp_path_factory.mktemp("compact") / "x"
    generate(parse(FEW), place, workers=0)
    return place


@pytest.fixture
def made(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "x"))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    """A few cohorts are a row group, and two of these are a file."""

    def numbers(cohort: str) -> int:
        tables = [pq.read_metadata(small / kind / f"{cohort}.parquet") for kind in KINDS]
        return sum(table.num_rows * table.num_columns for table in tables)

    most = max(numbers(cohort.name) for cohort in Dataset(small).cohorts())
    monkeypatch.setattr(compacting, "GROUP", int(1.5 * most))
    monkeypatch.setattr(compacting, "FULL", int(3.0 * most))
    monkeypatch.setattr(compacting, "READ", 1)


def rows(place: Path | str | Dataset) -> dict[str, bytes]:
    """Of every cohort its two tables, as the files of its own were: values, columns, dictionaries and headers."""
    dataset, found = Dataset(place), {}
    scratch = Dataset(str(dataset.root) + "-scratch")
    for cohort in dataset.cohorts():
        for kind in KINDS if cohort.name in dataset.complete() else ():
            scratch.publish_table("x.parquet", alone(dataset.table(kind, cohort.name)))
            found[f"{kind}/{cohort.name}.parquet"] = scratch.read("x.parquet")
    return found


def files(place: Path) -> dict[str, bytes]:
    return {f"{kind}/{path.name}": path.read_bytes() for kind in KINDS for path in (place / kind).glob("*.parquet")}


def seen(place: Path) -> list[pd.DataFrame]:
    """What pandas reads, in an order of its own."""
    keys = [["network_id", "layer", "checkpoint", "electrode"], ["network_id"]]
    frames = [
        pd.read_parquet(place / kind).astype(dict.fromkeys(key, str)) for kind, key in zip(KINDS, keys, strict=True)
    ]
    return [frame.sort_values(key, ignore_index=True) for frame, key in zip(frames, keys, strict=True)]


def equal(ours: list[pd.DataFrame], theirs: list[pd.DataFrame]) -> bool:
    return all(
        one.astype(object).where(one.notna(), None).equals(other.astype(object).where(other.notna(), None))
        for one, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.usefixtures("tiny")
def test_the_same_rows_in_few_files(small: Path, made: Path) -> None:
    before, frames, examples = files(made), seen(made), load(made)
    assert rows(made) == before, "the test itself"
    found = compact(made)
    assert (found.cohorts, found.before, found.after) == (8, 8, 2)
    assert len(files(made)) == 2 * 2
    assert rows(made) == before
    assert equal(seen(made), frames)
    assert problems(Dataset(made)) == []
    again = load(made)
    assert np.array_equal(again.values, examples.values, equal_nan=True)
    assert again.identity.equals(examples.identity)
    for kind in KINDS:
        headers = {pq.read_schema(path).metadata[b"rulescope"] for path in (made / kind).iterdir()}
        assert headers == {pq.read_schema(next((small / kind).iterdir())).metadata[b"rulescope"]}
        columns = [pq.read_schema(path).names for path in (made / kind).iterdir()]
        assert columns == [pq.read_schema(next((small / kind).iterdir())).names] * 2
    kept = files(made)
    assert compact(made).after == 2
    assert files(made) == kept, "what is large already stays as it is"
    assert made.joinpath("networks.parquet").read_bytes() == small.joinpath("networks.parquet").read_bytes()
    Dataset(made).fold()
    assert made.joinpath("networks.parquet").read_bytes() == small.joinpath("networks.parquet").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("how", ["killed", "failing"])
def test_whenever_it_ends_the_dataset_is_whole(
    how: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an object store, as it dies before each change in turn, or as one request in seven finds no answer."""
    before, met, place = files(small), set[object](), tmp_path / "x"
    for number in range(0, 10_000, 1 if how == "killed" else 7):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(small, place)
        with monkeypatch.context() as patch:
            uri, store = counted(place, patch)
            store.deadline, store.failing = (number, None) if how == "killed" else (None, number + 1)
            try:
                compact(uri)
                if how == "killed" or number >= store.requests.total():
                    break
            except (Killed, RequestError, OSError):
                pass
        (place / "driver.json").unlink(missing_ok=True)  # whose process does not live
        index = (place / INDEX).read_bytes() if (place / INDEX).exists() else b""
        if (state := str([sorted(files(place)), index])) in met:
            continue
        met.add(state)
        assert rows(place) == before, number
        assert problems(Dataset(place)) == [], number
        assert Dataset(place).states() == {"complete": 8, "diverged": 8}
        if len(met) % 3:
            compact(place)
            assert len(files(place)) == 4, "as if it had never ended"
        else:  # a run ends it as well
            generate(place, workers=0)
        assert Dataset(place).layout().leaving == ()
        assert rows(place) == before
        assert equal(seen(place), seen(small))
        assert problems(Dataset(place)) == []
    least = 2 * (1 + 2 + 1) + 2 * 8  # announced, two written, switched; and each small file removed
    assert len(met) >= (least if how == "killed" else 4)
