"""`rulescope compact`: the same rows in few files, each in one place whatever dies, and back again where a file is damaged."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counted import Killed, counted

from classifier.examples.trajectories import load
from generator.dataset.layout import INDEX, MARK, Layout
from generator.dataset.schema import KINDS, DatasetError
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running import compact as compacting
from generator.running.compact import alone, compact
from generator.running.generate import generate
from generator.running.hold import Hold
from generator.running.merge import merge
from generator.running.rerun import rerun
from generator.running.status import status
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


@pytest.mark.usefixtures("tiny")
def test_a_dataset_that_grows_is_as_if_made_at_once(
    small: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "FULL", int(1.2 * compacting.FULL))
    compact(made)
    first = files(made)
    assert generate(parse(MORE), made, workers=0).done_now == 8
    assert len(files(made)) == 2 * (2 + 4), "four new cohorts in files of their own"
    assert problems(Dataset(made)) == []
    assert len(seen(made)[1]) == 24
    whole = rows(made)
    assert compact(made).cohorts == 12
    assert rows(made) == whole
    assert problems(Dataset(made)) == []
    assert len(seen(made)[1]) == 24
    assert len(first.keys() & files(made).keys()) == 2, "the full one stays as it is, the other takes more in"
    shutil.copytree(small, tmp_path / "once")
    generate(parse(MORE), tmp_path / "once", workers=0)
    compact(tmp_path / "once")
    assert files(made).keys() == files(tmp_path / "once").keys()
    for name, content in files(tmp_path / "once").items():
        assert files(made)[name] == content or not name.startswith("observables/"), "but for the seconds it took"


@pytest.mark.usefixtures("tiny")
def test_an_unfinished_dataset(made: Path) -> None:
    """Its cohorts lie in another order than cohorts.json has them in, in the end."""
    dataset, before, examples = Dataset(made), files(made), load(made)
    names = [cohort.name for cohort in dataset.cohorts()]
    for name in (names[1], names[4]):
        dataset.remove(f"networks/{name}.parquet")
    some = {name: content for name, content in before.items() if not any(one in name for one in (names[1], names[4]))}
    assert compact(made).cohorts == 6
    assert rows(made) == some
    assert status(dataset).complete == 6
    assert (
        {name for name in names if dataset.is_complete(name)} == dataset.complete() == {*names} - {names[1], names[4]}
    )
    for name in (names[1], names[4]):
        dataset.publish(f"networks/{name}.parquet", before[f"networks/{name}.parquet"])
    assert dataset.complete_in_order() == names
    assert [name for run in dataset.runs() for name in run] == names
    assert rows(made) == before
    assert np.array_equal(load(made).values, examples.values, equal_nan=True)
    assert load(made).identity.equals(examples.identity)
    assert load(made, cohorts=[names[4], names[2], names[3]]).identity["network_id"].nunique() == 3
    compact(made)
    assert rows(made) == before
    assert problems(dataset) == []


@pytest.mark.usefixtures("tiny")
def test_what_else_reads_it(made: Path, tmp_path: Path) -> None:
    dataset, before = Dataset(made), files(made)
    told = status(dataset)
    compact(made)
    assert replace(status(dataset), rate=told.rate) == told
    assert dataset.states() == {"complete": 8, "diverged": 8}
    network = dataset.cohorts()[5].network_ids[0]
    assert rerun(made, network, tmp_path / "rerun", "cpu").difference < 1e-4
    generate(parse(SPEC + 'rule = "adam"\n'), tmp_path / "other", workers=0)
    merged = merge(tmp_path / "merged", [made, tmp_path / "other"])
    assert files(tmp_path / "merged").items() >= before.items()
    assert problems(merged) == []
    assert {*dataset.stamps()} == {*files(made)}
    assert dataset.failed() == set()


@pytest.mark.usefixtures("tiny")
def test_a_reader_is_not_disturbed(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has looked where the cohorts lie, and before it opens their files they are put together."""
    dataset, before, real = Dataset(made), load(made), Dataset._read
    waiting = [True]

    def late(self: Dataset, *asked: Any) -> Any:
        if waiting and asked[2] != []:  # not the header that is read first
            waiting.clear()
            compact(made)
        return real(self, *asked)

    runs = dataset.runs()
    monkeypatch.setattr(Dataset, "_read", late)
    found = pa.concat_tables(dataset.map(lambda table: table, "observables", runs))
    monkeypatch.setattr(Dataset, "_read", real)
    assert not waiting
    assert len(dataset.layout().places) == 8
    assert found.equals(dataset.read_kind("observables")) or len(found) == len(dataset.read_kind("observables"))
    assert found.column("network_id").to_pylist() == dataset.read_kind("observables").column("network_id").to_pylist()
    waiting.append(True)
    assert np.array_equal(load(made).values, before.values, equal_nan=True)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_large_file_is_found_and_made_again(kind: str, made: Path) -> None:
    before = files(made)
    compact(made)
    file = sorted((made / kind).iterdir())[0]
    file.write_bytes(file.read_bytes()[:-1000])
    assert [why for why in problems(Dataset(made)) if file.name in why] == problems(Dataset(made))
    assert len(problems(Dataset(made))) == 1, "the file, not each cohort in it"
    with pytest.raises(RequestError, match=file.name):
        load(made)
    found = generate(parse(FEW), made, workers=0)
    assert found.done_now == 2 * len(Dataset(made).complete() - Dataset(made).layout().places.keys())
    assert problems(Dataset(made)) == []
    assert {name: rows(made)[name] for name in before if name.startswith("obs")} == {
        name: content for name, content in before.items() if name.startswith("obs")
    }
    file.unlink(missing_ok=True)
    other = next((made / kind).glob(f"{MARK}*"))
    other.unlink()
    assert problems(Dataset(made)) == [f"{other} is missing"]
    assert generate(parse(FEW), made, workers=0).done_now > 0
    assert problems(Dataset(made)) == []


@pytest.mark.usefixtures("tiny")
def test_beside_a_damaged_cohort_others_are_kept(made: Path) -> None:
    """A row group of one file was overwritten: its cohorts are made again, the file's others get their own files back."""
    before, dataset = files(made), Dataset(made)
    compact(made)
    file = dataset.layout().places[dataset.cohorts()[0].name].file
    path = made / "observables" / f"{file}.parquet"
    group = pq.read_metadata(path).row_group(0)
    at = min(
        group.column(i).dictionary_page_offset or group.column(i).data_page_offset for i in range(group.num_columns)
    )
    content = bytearray(path.read_bytes())
    size = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
    content[at : at + size] = bytes(size)
    path.write_bytes(content)
    lost = [piece.cohort for piece in dataset.layout().files[file][0]]
    kept = [piece.cohort for group in dataset.layout().files[file][1:] for piece in group]
    said: list[str] = []
    assert lost
    assert kept
    assert generate(parse(FEW), made, workers=0, say=said.append).done_now == 2 * len(lost)
    assert [why.split()[1] for why in said] == lost
    assert problems(dataset) == []
    for name in kept:
        assert (made / "networks" / f"{name}.parquet").read_bytes() == before[f"networks/{name}.parquet"]
        assert (made / "observables" / f"{name}.parquet").read_bytes() == before[f"observables/{name}.parquet"]
    assert {n: c for n, c in rows(made).items() if "obs" in n} == {n: c for n, c in before.items() if "obs" in n}


@pytest.mark.usefixtures("tiny")
def test_what_is_in_both_places_or_in_none_is_found(made: Path) -> None:
    before, dataset = files(made), Dataset(made)
    compact(made)
    name = dataset.cohorts()[2].name
    for kind in KINDS:
        dataset.publish(f"{kind}/{name}.parquet", before[f"{kind}/{name}.parquet"])
    file = dataset.layout().places[name].file
    assert problems(dataset) == [
        f"{made}/{kind}/{name}.parquet is there beside {file}.parquet, which holds it, too: `rulescope compact {made}` removes it"
        for kind in KINDS
    ]
    assert rows(made) == before, "it is read once all the same"
    compact(made)
    assert problems(dataset) == []
    layout = dataset.layout()
    dataset.publish(INDEX, Layout({each: held for each, held in layout.files.items() if each != file}).content())
    assert f"{made}/observables/{file}.parquet belongs to no cohort of cohorts.json" in problems(dataset)
    assert f"{made}/networks/{name}.parquet is missing" in problems(dataset)
    dataset.publish(INDEX, layout.content())
    assert problems(dataset) == []
    stranger = json.loads(layout.content())
    stranger["files"][file][0][0][0] = "nobody"
    dataset.publish(INDEX, json.dumps(stranger).encode())
    assert f"{made}/{INDEX} names nobody, which is no cohort of cohorts.json" in problems(dataset)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: [], "it is not an object"),
        (lambda found: found | {"schema_version": 99}, "has schema version 99"),
        (lambda found: {"schema_version": 2, "files": {}}, "lacks 'leaving'"),
        (lambda found: found | {"files": 5}, "has no attribute"),
        (lambda found: found | {"files": {f"{MARK}a": 5}}, "not iterable"),
        (lambda found: found | {"files": {f"{MARK}a": []}}, f"{MARK}a holds no cohort"),
        (lambda found: found | {"files": {f"{MARK}a": [[]]}}, f"{MARK}a holds no cohort"),
        (lambda found: found | {"files": {f"{MARK}a": [[["b", 1]]]}}, "are no numbers of rows"),
        (lambda found: found | {"files": {f"{MARK}a": [[["b", -1, 1]]]}}, "are no numbers of rows"),
        (lambda found: found | {"files": {f"{MARK}a": [[["b", 1, 2**70]]]}}, "are no numbers of rows"),
        (lambda found: found | {"files": {f"{MARK}a": [[["b", True, 1]]]}}, "are no numbers of rows"),
        (lambda found: found | {"files": {f"{MARK}a": [[["../b", 1, 1]]]}}, "is no name of a cohort"),
        (lambda found: found | {"files": {f"{MARK}/../a": [[["b", 1, 1]]]}}, "is no name of a cohort"),
        (lambda found: found | {"files": {"../../victim": [[["b", 1, 1]]]}}, "is no name of a cohort"),
        (lambda found: found | {"files": {"a": [[["b", 1, 1]]]}}, "a is no name of a large file"),
        (lambda found: found | {"files": {f"{MARK}a": [[["b", 1, 1], ["b", 1, 1]]]}}, "a cohort stands in it twice"),
        (lambda found: found | {"files": {f"{MARK}a": [[[f"{MARK}a", 1, 1]]]}}, "one thing and another"),
        (lambda found: found | {"leaving": ["../victim"]}, "is no name of a cohort"),
        (lambda found: found | {"leaving": ["nobody"]}, "nobody is no name of a large file"),
        (lambda found: found | {"leaving": list(found["files"])}, "one thing and another"),
        (lambda found: found | {"leaving": 5}, "not iterable"),
    ],
)
def test_an_index_that_is_none_is_one_sentence(change: Any, said: str, made: Path) -> None:
    compact(made)
    dataset = Dataset(made)
    before = files(made)
    dataset.publish(INDEX, json.dumps(change(json.loads((made / INDEX).read_bytes()))).encode())
    for act in (load, compact, dataset.sweep, dataset.states, lambda *_: generate(parse(FEW), made, workers=0)):
        with pytest.raises(DatasetError, match=rf"{INDEX}.*{re.escape(said)}") as caught:
            act(made) if act in (load, compact) else act()
        assert "\n" not in str(caught.value)
    assert files(made) == before, "nothing was removed"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("by", [-1, 1])
def test_an_index_of_other_rows_is_found(by: int, made: Path) -> None:
    compact(made)
    dataset = Dataset(made)
    found = json.loads((made / INDEX).read_bytes())
    file = next(iter(found["files"]))
    found["files"][file][0][0][1] += by
    dataset.publish(INDEX, json.dumps(found).encode())
    with pytest.raises(DatasetError, match=rf"{file}.parquet has [\d,]+ rows where {INDEX} says [\d,]+"):
        load(made)
    assert any(f"rows where {INDEX} says" in why for why in problems(dataset))
    found["files"][file][0][0][1] -= by
    found["files"][file].append([["nobody", 1, 1]])
    dataset.publish(INDEX, json.dumps(found).encode())
    with pytest.raises(DatasetError, match=rf"{file}.parquet has \d row groups where {INDEX} says \d"):
        load(made)


def test_a_run_that_goes_on_is_not_disturbed(made: Path) -> None:
    before = files(made)
    with (
        Hold(Dataset(made)),
        pytest.raises(RequestError, match=r"being made by process \d+ .*: wait for it or stop it$"),
    ):
        compact(made)
    assert files(made) == before
    with pytest.raises(RequestError, match="is not a dataset"):
        compact(made / "nothing")
    assert not (made / "nothing").exists()


@pytest.mark.usefixtures("tiny")
def test_of_two_at_once_one_stops(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was silent for minutes goes on, though another has done its work meanwhile."""
    before, dataset, real = files(made), Dataset(made), Dataset.publish
    waiting = [True]

    def paused(self: Dataset, name: str, content: bytes) -> None:
        real(self, name, content)
        if waiting and name.startswith(f"networks/{MARK}"):
            waiting.clear()
            compacting.put_together(dataset, lambda: None)

    monkeypatch.setattr(Dataset, "publish", paused)
    with pytest.raises(RequestError, match=r"somebody else puts the files of .* together, too"):
        compact(made)
    assert rows(made) == before
    assert problems(dataset) == []


def test_a_run_does_it_by_itself_where_small_files_abound(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, said = files(made), list[str]()
    generate(parse(FEW), made, workers=0, say=said.append)
    assert files(made) == before, "eight are few"
    monkeypatch.setattr(compacting, "MANY", 8)
    generate(parse(FEW), made, workers=0, say=said.append)
    assert files(made) == before
    monkeypatch.setattr(compacting, "MANY", 7)
    monkeypatch.setattr(compacting, "SMALL", 1000)
    generate(parse(FEW), made, workers=0, say=said.append)
    assert files(made) == before, "they are large"
    monkeypatch.setattr(compacting, "SMALL", 10**9)
    with monkeypatch.context() as patch:

        def full(self: Any, tables: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(compacting._Large, "__init__", full)
        assert generate(parse(FEW), made, workers=0, say=said.append).failures == ()
    assert said == [
        f"the small files of {made} were not put together, and are as good as before: [Errno 28] No space left on device"
    ]
    assert files(made) == before
    (made / "networks" / f"{Dataset(made).cohorts()[0].name}.parquet").unlink()
    monkeypatch.setattr(compacting, "MANY", 3)
    compacting.by_itself(Dataset(made), lambda: None, said.append)
    assert len(files(made)) == 15, "it is not complete"
    generate(parse(FEW), made, workers=0, say=said.append)
    assert len(files(made)) == 2
    assert {n: c for n, c in rows(made).items() if "obs" in n} == {n: c for n, c in before.items() if "obs" in n}
    assert problems(Dataset(made)) == []
    assert len(said) == 1


def test_the_command_says_what_it_did(made: Path, command: Any) -> None:
    said = f"{made}: 8 cohorts put together, in 1 files of observables and as many of networks, where there were 8\n"
    assert command("compact", made).stdout == said
    assert command("compact", made).stdout == f"{made}: nothing to put together (files of observables: 1)\n"
    found = command("compact", made / "observables")
    assert (found.returncode, found.stdout) == (2, "")
    assert "is not a dataset" in found.stderr


def test_an_object_store_is_asked_less(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each file: how large it is, its footer, and the columns that lie together, at once."""
    uri, store = counted(made, monkeypatch)
    examples = load(uri)
    before = store.requests.copy()
    compact(uri)
    store.requests.clear()
    assert np.array_equal(load(uri).values, examples.values, equal_nan=True)
    assert store.requests["GET"] < before["GET"] / 2
    assert store.requests["HEAD"] < before["HEAD"]
    assert store.requests["LIST"] == before["LIST"]
    assert not {"PUT", "DELETE"} & {*store.requests, *before}


@pytest.mark.usefixtures("tiny")
def test_a_large_file_may_become_part_of_two(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until both are there it is not given up."""
    before, most, parts = files(small), compacting.FULL / 3, set()
    for full in (1.5, 2.0, 2.5, 3.0, 3.5):
        monkeypatch.setattr(compacting, "FULL", int(full * most))
        place = Path(shutil.copytree(small, tmp_path / str(full)))
        dataset = Dataset(place)
        hidden = [cohort.name for cohort in dataset.cohorts()[:-2]]
        for name in hidden:
            dataset.remove(f"networks/{name}.parquet")
        compact(place)
        old = {*dataset.layout().places}
        for name in hidden:
            dataset.publish(f"networks/{name}.parquet", before[f"networks/{name}.parquet"])
        compact(place)
        assert rows(place) == before
        assert problems(dataset) == []
        parts.add(len({place.file for name, place in dataset.layout().places.items() if name in old}))
    assert parts == {1, 2}, "at least once it was divided"
