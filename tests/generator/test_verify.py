"""What `verify` finds: each way in which a dataset can be other than its spec says is a sentence with the file in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from generator.dataset import schema
from generator.dataset.storage import Dataset
from generator.running.generate import generate
from generator.running.verify import problems
from generator.spec.spec import parse

SPEC = 'name = "x"\ncheckpoints = 3\nprobe = 16\n[snapshots]\n[[electrode]]\nunits = 4\nnoise = [0.0, 0.5]\n[[grid]]\n'
SPEC += 'task = "digits"\narchitecture = "mlp2"\nrule = ["sgdm", "fa"]\nlearning_rate = [1.0, 1e6]\nepochs = 1\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("verify") / "x"
    generate(parse(SPEC), place, workers=0)
    return place


@pytest.fixture
def made(whole: Path, tmp_path: Path) -> Dataset:
    return Dataset(shutil.copytree(whole, tmp_path / "x"))


def rewrite(made: Dataset, kind: str, rule: str, change: Callable[[pa.Table], pa.Table]) -> str:
    """Change the table of a rule's cohort; its path."""
    (name,) = [f"{kind}/{c.name}.parquet" for c in made.cohorts() if c.name.startswith(f"{rule}-")]
    made.publish_table(name, change(made.read_table(name, kind)))
    return f"{made}/{name}"


def entry(column: str, value: Any, row: int = 0) -> Callable[[pa.Table], pa.Table]:
    """Put a value in a column."""

    def change(table: pa.Table) -> pa.Table:
        values = table.column(column).to_pylist()
        values[row] = value
        field = table.schema.field(column)
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        array = pa.array(values, plain)
        array = array.dictionary_encode() if pa.types.is_dictionary(field.type) else array
        return table.set_column(table.schema.get_field_index(column), field, array)

    return change


def test_a_dataset_as_it_was_made_has_no_problem(made: Dataset) -> None:
    assert made.states() == {"complete": 2, "diverged": 2}
    assert problems(made) == []


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("rule", "sgdm", "'fa'"),
        ("pathway", "bp", "'fa'"),
        ("learning_rate", 2.0, "1.0"),
        ("batch_size", 7, "128"),
        ("rule_parameters", "{}", ""),
        ("width", 2.0, "1.0"),
        ("weights", 1, ""),
        ("cohort", "another", "'fa-"),
    ],
)
def test_what_a_network_is_is_the_spec_s_word(column: str, value: Any, said: str, made: Dataset) -> None:
    path = rewrite(made, "networks", "fa", entry(column, value))
    found = problems(made)
    assert found[0].startswith(f"{path} says {column} = {value!r} of network ")
    assert f"and the spec {said}" in found[0]
    assert all(f"{column} = " in problem for problem in found[1:])  # the measurements have it right


@pytest.mark.parametrize("kind", schema.KINDS)
def test_rules_that_two_networks_have_exchanged_are_found(kind: str, made: Dataset) -> None:
    paths = [
        rewrite(made, kind, rule, lambda table, other=other: entry("rule", other)(table))
        for rule, other in (("fa", "sgdm"), ("sgdm", "fa"))
    ]
    assert {path for path in paths for problem in problems(made) if f"{path} says rule = " in problem} == set(paths)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rule", "sgdm"),
        ("curriculum", "photos"),
        ("data_seed", 5),
        ("layer", "fc9"),
        ("depth", "early"),
        ("step", 99),
        ("fraction", 0.25),
        ("units", 3),
        ("noise", 0.25),
        ("noise_mode", "poisson"),
        ("electrode_seed", 1),
    ],
)
def test_what_a_row_is_is_the_spec_s_word(column: str, value: Any, made: Dataset) -> None:
    path = rewrite(made, "observables", "fa", entry(column, value, row=4))
    (problem,) = problems(made)
    assert problem.startswith(f"{path} says {column} = {value!r} of network ")
    assert problem.endswith("(1 rows)")


@pytest.mark.parametrize(
    ("kind", "column", "value", "said"),
    [
        ("networks", "status", "perfect", "has the status 'perfect', not complete or diverged"),
        ("networks", "status", "failed", "has the status 'failed', not complete or diverged"),
        ("networks", "status", "diverged", "diverged network {} has 3 of 3 checkpoints"),
        ("networks", "checkpoints", 2, "complete network {} has 2 of 3 checkpoints"),
        ("networks", "checkpoints", -1, "complete network {} has -1 of 3 checkpoints"),
        ("networks", "layers", 2**15 - 1, "network {} does not have its "),
        ("networks", "rule", None, "lacks values of rule"),
        ("networks", "final_probe_accuracy", 2.0, "ends with another probe_accuracy than networks/"),
        ("observables", "weight_raw_mean", None, "lacks values of weight_raw_mean"),
        ("observables", "electrode", "full_", "does not have its 18 rows"),
    ],
)
def test_what_became_of_a_network_is_possible(kind: str, column: str, value: Any, said: str, made: Dataset) -> None:
    rewrite(made, kind, "fa", entry(column, value))
    network = next(c.network_ids[0] for c in made.cohorts() if c.name.startswith("fa-"))
    assert any(said.format(network) in problem for problem in problems(made))


def test_a_header_that_calls_a_statistic_something_else_is_found(made: Dataset) -> None:
    def change(table: pa.Table) -> pa.Table:
        about = schema.header(table.schema, "")
        about["statistics"]["weight_raw_mean"]["observable"] = "activation"
        return table.replace_schema_metadata({schema.METADATA_KEY: json.dumps(about)})

    path = rewrite(made, "observables", "fa", change)
    assert problems(made) == [f"the header of {path} declares other statistics than the dataset's"]


def test_networks_of_no_spec_and_specs_of_no_network_are_found(made: Dataset) -> None:
    made.publish("spec.toml", parse(SPEC.replace('["sgdm", "fa"]', '["sgdm", "adam"]')).to_toml().encode())
    found = problems(made)
    assert f"{made}/cohorts.json has 2 networks that its spec.toml lacks, such as " in found[0]
    assert f"{made}/spec.toml has 2 networks that no cohort of cohorts.json has, such as " in found[1]
    made.publish("spec.toml", SPEC.replace("probe = 16", "probe = 17").encode())
    assert problems(made) == [f"{made} was made with probe = 16, and its spec.toml says 17"]
    made.publish("spec.toml", b"[")
    (problem,) = problems(made)
    assert f"{made}/spec.toml: not valid TOML" in problem


def test_snapshots_are_whole(made: Dataset) -> None:
    root = Path(str(made)) / "snapshots"
    kept = sorted(folder.name for folder in root.iterdir())
    assert len(kept) == 2
    (root / kept[0] / "1.safetensors").unlink()
    assert problems(made) == [f"{root / kept[0]} lacks 1 files, such as 1.safetensors"]
    (root / kept[1] / "2.safetensors").write_bytes((root / kept[1] / "2.safetensors").read_bytes()[:-1])
    assert f"{root / kept[1]}/2.safetensors is not a whole safetensors file" in problems(made)
    shutil.copy(root / kept[1] / "0.safetensors", root / kept[1] / "2.safetensors")
    shutil.rmtree(root / kept[0])
    assert problems(made) == [f"{root} has nothing of network {kept[0]}"]
    shutil.copytree(root / kept[1], root / "stranger")
    assert f"{root}/stranger belongs to no network of cohorts.json" in problems(made)


def test_a_fold_that_says_something_else_is_found(made: Dataset) -> None:
    made.publish_table("networks.parquet", entry("rule", "adam")(made.read_table("networks.parquet", "networks")))
    assert problems(made) == [f"{made}/networks.parquet does not repeat what the files in networks/ say"]
    made.fold()
    assert problems(made) == []


def test_what_measured_nothing_wrong_is_not_compared(made: Dataset) -> None:
    """Measurements themselves are anyone's word: `rerun` looks at those."""
    rewrite(made, "observables", "fa", entry("weight_raw_mean", np.float32(5)))
    assert problems(made) == []


@pytest.mark.parametrize("kind", schema.KINDS)
def test_text_that_is_no_utf8_is_damage(kind: str, made: Dataset) -> None:
    def spoil(table: pa.Table) -> pa.Table:
        field = table.schema.field("network_id")
        ends = np.arange(len(table) + 1, dtype=np.int32)
        texts = pa.StringArray.from_buffers(len(table), pa.py_buffer(ends), pa.py_buffer(b"\xe4" * len(table)))
        array = texts.dictionary_encode() if pa.types.is_dictionary(field.type) else texts
        return table.set_column(table.schema.get_field_index("network_id"), field, array)

    where = rewrite(made, kind, "fa", spoil)
    assert [one.partition(":")[0] for one in problems(made)][:1] == [f"{where} is not a readable Parquet file"]
