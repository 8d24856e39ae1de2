"""The column dictionary says what the files say, and the spec files in the repository are valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator import observables, rules
from generator.curricula.families import FAMILIES
from generator.dataset import schema
from generator.observables.tensors import FUNCTIONS, STATISTICS
from generator.spec import spec

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "datasets"


def test_the_dictionary_holds_every_column_with_its_meaning() -> None:
    text = (ROOT / "docs" / "dictionary.md").read_text(encoding="utf-8").replace("&#124;", "|")
    contract = schema.observables(observables.statistics(tuple(observables.OBSERVABLES)))
    for kind, columns in (("observables", contract), ("networks", schema.NETWORKS)):
        for name, meaning in schema.header(columns, kind)["columns"].items():
            assert f"| `{name}` |" in text
            assert meaning in text
    for name in (*FUNCTIONS, *STATISTICS, *observables.OBSERVABLES, *observables.SETS):
        assert f"`{name}`" in text
    for one in observables.statistics(tuple(set(observables.OBSERVABLES) - set(observables.PAPER))):
        assert f"`{one.name}`" in text


def test_the_dictionary_holds_every_parameter_of_the_families() -> None:
    text = (ROOT / "docs" / "dictionary.md").read_text(encoding="utf-8")
    for family in FAMILIES.values():
        assert f"| `{family.name}:17` |" in text
        for name, law in family.laws().items():
            row = f" | `{name}` | {law} | {law.meaning} |\n"
            assert f"| `{family.name}`{row}" in text or f"| all{row}" in text


def test_the_page_of_rules_holds_every_one_with_its_family() -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    for name, one in (*rules.PATHWAYS.items(), *rules.UPDATES.items()):
        assert f"| `{name}` | {one.family} | " in text


@pytest.mark.unchecked
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_spec_is_valid_and_named_like_its_file(path: Path) -> None:
    assert spec.read(path).name == path.stem


def test_the_folder_is_no_package() -> None:
    assert not (FOLDER / "__init__.py").exists()
