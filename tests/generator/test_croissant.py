"""A dataset's card: valid Croissant by its own validator, and enough to read the dataset by."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import mlcroissant
import pandas as pd
import pytest

from generator.dataset import schema
from generator.observables import statistics
from generator.running.card import card, to_json
from generator.running.generate import generate
from generator.spec import spec

DATASETS = Path(__file__).parents[2] / "datasets"
TEXT = 'name = "x"\ncheckpoints = 3\nprobe = 16\n'
TEXT += '[[grid]]\ntask = "digits"\narchitecture = "mlp2"\nrule = ["sgdm", "fa"]\nepochs = 1\n'


@pytest.mark.unchecked
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(path.stem for path in DATASETS.glob("*.toml")))
def test_the_card_of_every_spec_is_valid(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parsed = spec.read(DATASETS / f"{name}.toml")
    content = to_json(card(parsed, "2026-11-22"))
    committed = DATASETS / f"{name}.croissant.json"
    file = tmp_path / "croissant.json"
    file.write_bytes(content)
    if committed.exists():
        kept = json.loads(committed.read_text())
        made = json.loads(content) | {key: kept[key] for key in ("datePublished", "version")}
        differs = [key for key in made if made[key] != kept.get(key)]
        assert kept == made, f"{committed.name} is not what its spec and the columns' meanings give: {differs}"
    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(jsonld=file)  # raises if it is not valid
    assert not caplog.records
    assert not found.metadata.ctx.issues.errors
    assert not found.metadata.ctx.issues.warnings
    schemas = {"observables": schema.observables(statistics(parsed.measured)), "networks": schema.NETWORKS}
    for kind, columns in schemas.items():
        (records,) = [each for each in found.metadata.record_sets if each.id == kind]
        assert [field.id for field in records.fields] == [f"{kind}/{column}" for column in columns.names]
        assert all(field.description for field in records.fields)


def test_a_dataset_can_be_read_by_its_card_alone(tmp_path: Path) -> None:
    generate(spec.parse(TEXT), tmp_path / "x", workers=0)
    found = json.loads((tmp_path / "x" / "croissant.json").read_text())
    assert "2 networks, 4 layers in all, at 3 checkpoints" in found["description"]
    for records in found["recordSet"]:
        files = next(each for each in found["distribution"] if each["@id"] == f"{records['@id']}-files")
        table = pd.concat(map(pd.read_parquet, (tmp_path / "x").glob(files["includes"])))
        columns = [field["source"]["extract"]["column"] for field in records["field"]]
        assert columns == list(table.columns)
        kinds = {"sc:Text": "O", "sc:Integer": "i", "sc:Float": "f"}
        for field, column in zip(records["field"], columns, strict=True):
            numeric = pd.api.types.is_numeric_dtype(table[column])
            assert numeric == (kinds[field["dataType"]] != "O")
            assert not numeric or table[column].dtype.kind == kinds[field["dataType"]]
