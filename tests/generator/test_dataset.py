"""The Parquet contract: atomic publication, what is refused, and what `verify` finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generator.dataset import schema
from generator.dataset.schema import DatasetError
from generator.dataset.storage import Dataset
from generator.observables import statistics
from generator.running.generate import generate
from generator.running.verify import problems
from generator.spec import spec

TEXT = """
name = "small"
checkpoints = 3
probe = 16
[[grid]]
task = "digits"
architecture = "mlp2"
rule = ["sgdm", "fa"]
learning_rate = [1, 1e6]
epochs = 1
"""


NAMES = [one.name for one in statistics()]


@pytest.fixture
def made(tmp_path: Path) -> Dataset:
    generate(spec.parse(TEXT), tmp_path / "small", workers=0)
    return Dataset(tmp_path / "small")


def path_of(made: Dataset, kind: str, rule: str) -> Path:
    return next(Path(str(made)).glob(f"{kind}/{rule}-*.parquet"))


def test_one_read_parquet_is_enough(made: Dataset) -> None:
    frame = pd.read_parquet(Path(str(made)) / "observables")
    assert list(frame.columns) == [*schema.IDENTITY_COLUMNS, *NAMES]
    complete = frame[frame.learning_rate == 1]
    assert len(complete) == 2 * 2 * 3  # rules × layers × checkpoints
    assert (complete.dtypes[NAMES] == np.float32).all()
    assert isinstance(frame.rule.dtype, pd.CategoricalDtype)
    assert complete.groupby("network_id", observed=True).step.unique().map(list).tolist() == [[0, 5, 10]] * 2


def test_the_files_say_which_columns_are_statistics(made: Dataset) -> None:
    found = schema.header(pq.read_schema(path_of(made, "observables", "fa")), "")
    assert list(found["statistics"]) == NAMES
    assert set(found["columns"]) == set(schema.IDENTITY_COLUMNS)
    assert all(found["columns"].values())


def test_divergence_is_a_row_with_its_status(made: Dataset) -> None:
    networks = made.read_kind("networks").to_pandas().set_index(["rule", "learning_rate"])
    for rule in ("sgdm", "fa"):
        assert networks.loc[(rule, 1.0), "status"] == "complete"
        assert networks.loc[(rule, 1e6), "status"] == "diverged"
        assert "exploded" in networks.loc[(rule, 1e6), "reason"]
        assert networks.loc[(rule, 1e6), "checkpoints"] < 3
    assert problems(made) == []
    folded = pd.read_parquet(Path(str(made)) / "networks.parquet")
    assert len(folded) == 4


def test_equal_tables_give_equal_bytes(made: Dataset) -> None:
    name = f"observables/{path_of(made, 'observables', 'fa').name}"
    before = made.read(name)
    made.publish_table(name, made.read_table(name, "observables"))
    assert made.read(name) == before


def test_a_file_that_fails_half_way_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Dataset(tmp_path)
    opened.publish("a.bin", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DatasetError, match="No space left"):
        opened.publish("a.bin", b"new")
    assert opened.read("a.bin") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_what_a_killed_run_left_staged_is_swept_and_never_read(made: Dataset) -> None:
    staged = Path(str(made)) / "observables" / ".x.parquet.123.staged"
    staged.write_bytes(b"half a file")
    assert problems(made) == []
    pd.read_parquet(Path(str(made)) / "observables")
    made.sweep()
    assert not staged.exists()


@pytest.mark.parametrize("kind", ["observables", "networks"])
def test_a_truncated_file_is_named_and_refused(made: Dataset, kind: str) -> None:
    path = path_of(made, kind, "fa")
    path.write_bytes(path.read_bytes()[:1000])
    assert any(path.name in problem and "readable" in problem for problem in problems(made))
    with pytest.raises(DatasetError, match=path.name):
        made.read_kind(kind)


def test_a_foreign_file_is_named_and_refused(made: Dataset) -> None:
    path = path_of(made, "observables", "fa")
    pq.write_table(pa.table({"a": [1]}), path)
    assert any(path.name in problem and "not written by Rulescope" in problem for problem in problems(made))
    with pytest.raises(DatasetError, match="not written by Rulescope"):
        made.read_kind("observables")


def test_an_unknown_schema_version_is_refused(made: Dataset) -> None:
    path = path_of(made, "observables", "fa")
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[schema.METADATA_KEY]) | {"schema_version": 99}
    pq.write_table(table.replace_schema_metadata({schema.METADATA_KEY: json.dumps(meta)}), path)
    with pytest.raises(DatasetError, match="schema version 99"):
        made.read_kind("observables")


def test_a_changed_column_is_refused(made: Dataset) -> None:
    path = path_of(made, "observables", "fa")
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["weight_raw_norm"]).replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(DatasetError, match="does not have the columns"):
        made.read_kind("observables")


def test_verify_finds_what_is_missing_doubled_short_or_not_ours(made: Dataset) -> None:
    root, path = Path(str(made)), path_of(made, "observables", "fa")
    whole = path.read_bytes()
    table = made.read_table(f"observables/{path.name}", "observables")

    path.unlink()
    assert problems(made) == [f"{path} is missing"]
    made.publish_table(f"observables/{path.name}", table.slice(0, len(table) - 1))
    assert any("does not have its" in problem for problem in problems(made))
    made.publish_table(f"observables/{path.name}", pa.concat_tables([table.slice(0, 1), table]))
    assert any("twice" in problem for problem in problems(made))
    made.publish_table(f"observables/{path.name}", table.take(list(range(len(table)))[::-1]))
    assert any("not sorted" in problem for problem in problems(made))
    path.write_bytes(whole)
    (root / "observables" / "stray.parquet").write_bytes(whole)
    assert any("stray.parquet belongs to no cohort" in problem for problem in problems(made))


def test_a_folder_that_is_no_dataset_is_said_to_be_none(tmp_path: Path) -> None:
    for ask in (problems, Dataset.states, lambda here: here.read_kind("networks")):
        with pytest.raises(DatasetError, match="is not a dataset"):
            ask(Dataset(tmp_path))


# -- names that a stranger wrote ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "../../victim",
        "/victim",
        "..",
        ".",
        "",
        ".hidden",
        "a/b",
        "a\\b",
        "c:b",
        "a\nb",
        "a\0b",
        "é" * 101,
        5,
        None,
        ["a"],
    ],
)
@pytest.mark.parametrize("what", ["name", "networks"])
def test_a_name_that_is_no_file_name_is_refused_where_it_is_read(name: object, what: str, made: Dataset) -> None:
    """Every command reads cohorts.json through this."""
    record = made.read_json("cohorts.json")
    record["cohorts"][0][what] = name if what == "name" else [name]
    made.publish("cohorts.json", json.dumps(record).encode())
    with pytest.raises(
        DatasetError, match=r"cohorts.json is damaged: ValueError\(.*is no name of a cohort or a network"
    ):
        made.cohorts()


@pytest.mark.parametrize(
    "cohorts",
    [5, [5], ["a"], [{}], [{"name": "a"}], [{"name": "a", "networks": 5}], None]
    + [[{"name": "a", "networks": networks}] for networks in ([], "bc", {"b": "c"})],
)
def test_a_list_of_cohorts_that_is_none_is_one_sentence(cohorts: object, made: Dataset) -> None:
    record = made.read_json("cohorts.json") | {"cohorts": cohorts}
    made.publish("cohorts.json", json.dumps(record).encode())
    with pytest.raises(DatasetError, match=r"cohorts\.json is damaged"):
        made.cohorts()


@pytest.mark.parametrize(
    ("other", "said"), [({}, "cohorts have the same name"), ({"name": "other"}, "networks are the same")]
)
def test_what_stands_twice_among_cohorts_is_refused(other: dict[str, str], said: str, made: Dataset) -> None:
    record = made.read_json("cohorts.json")
    record["cohorts"].append(record["cohorts"][0] | other)
    made.publish("cohorts.json", json.dumps(record).encode())
    with pytest.raises(DatasetError, match=f"two of its {said}"):
        made.cohorts()


@pytest.mark.parametrize("name", ["../victim", "observables/../../victim", "/tmp/victim", "a\0b"])
def test_no_file_is_reached_by_a_name_that_leads_elsewhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    dataset = Dataset(tmp_path / "x")
    dataset.publish("observables/a", b"")
    for reach in (dataset.read, dataset.exists, dataset.remove, dataset.open, lambda n: dataset.publish(n, b"lost")):
        with pytest.raises(DatasetError, match="leads elsewhere"):
            reach(name)
    assert (tmp_path / "victim").read_text() == "kept"


def test_links_out_of_a_dataset_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.parquet").write_text("kept")
    (outside / ".b.staged").write_text("kept")
    dataset = Dataset(tmp_path / "x")
    dataset.publish("log/a", b"")
    for name in ("observables", "snapshots", "report"):
        (tmp_path / "x" / name).symlink_to(outside)
    (tmp_path / "x" / "spec.toml").symlink_to(outside / "a.parquet")
    for act in (
        lambda: dataset.read("observables/a.parquet"),
        lambda: dataset.read("spec.toml"),
        lambda: dataset.remove("observables/a.parquet"),
        lambda: dataset.publish("snapshots/a/1", b"lost"),
        lambda: dataset.inside("report").publish("a.parquet", b"lost"),
        lambda: dataset.files("observables"),
        dataset.sweep,
    ):
        with pytest.raises(DatasetError, match=r"is a link that leads out of .*x, and is not followed"):
            act()
    assert sorted(path.name for path in outside.iterdir()) == [".b.staged", "a.parquet"]
    assert {path.read_text() for path in outside.iterdir()} == {"kept"}
    dataset.publish("spec.toml", b"our own")  # which takes the link's place
    assert (outside / "a.parquet").read_text() == "kept"


def test_a_dataset_that_is_reached_by_a_link_is_one(tmp_path: Path) -> None:
    """As data on a scratch disk often are."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "x").symlink_to(tmp_path / "disk")
    dataset = Dataset(tmp_path / "x")
    dataset.publish("observables/a", b"here")
    assert Dataset(tmp_path / "disk").read("observables/a") == dataset.read("observables/a") == b"here"
