"""A dataset made before observables could be chosen (schema version 2) is read, verified, evaluated and grown."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier.api import evaluate
from classifier.examples.trajectories import load
from generator.dataset.storage import Dataset
from generator.observables import statistics
from generator.running.generate import generate
from generator.running.rerun import rerun
from generator.running.verify import problems
from generator.spec.spec import parse, read

OLD = Path(__file__).parent / "data" / "schema2"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(OLD, tmp_path / "schema2")


def test_it_verifies_and_loads(old: Path) -> None:
    assert problems(Dataset(old)) == []
    examples = load(old, "units4_relative0.5")
    assert examples.values.shape == (16, 3, 45)
    assert list(examples.statistics) == [one.name for one in statistics()]


def test_it_is_evaluated(old: Path) -> None:
    found = evaluate(
        load(old),
        models=["forest"],
        features=["levels"],
        observables=["all", "weight", "activation", "change"],
        n_splits=2,
    )
    assert found["networks"] == 8
    assert found["models"]["forest"].keys() == {"all", "weight", "activation", "change", "curves"}


def test_its_networks_are_those_that_the_same_spec_makes_now(old: Path, tmp_path: Path) -> None:
    spec = read(old / "spec.toml")
    generate(spec, tmp_path / "new", workers=0)
    ours, theirs = (pd.read_parquet(each / "observables") for each in (tmp_path / "new", old))
    keys = ["network_id", "layer_index", "checkpoint", "electrode"]
    ours, theirs = (each.astype({"network_id": str}).sort_values(keys) for each in (ours, theirs))
    assert list(ours.columns) == list(theirs.columns)
    assert (ours[keys].to_numpy() == theirs[keys].to_numpy()).all()
    names = [one.name for one in statistics()]
    np.testing.assert_allclose(ours[names], theirs[names], rtol=1e-3, atol=1e-5)  # another CPU rounds otherwise
    assert rerun(old, ours["network_id"].iloc[0], tmp_path / "again").difference < 1e-3


def test_it_is_gone_on_with(old: Path) -> None:
    spec = read(old / "spec.toml")
    grown = spec.model_copy(
        update={"grid": [spec.grid[0].model_copy(update={"learning_rate": [0.5, 1.0, 2.0, 4.0, 8.0]})]}
    )
    before = {path.name: path.read_bytes() for path in (old / "observables").iterdir()}
    assert generate(parse(grown.to_toml()), old, workers=0).done_now == 2
    assert all((old / "observables" / name).read_bytes() == content for name, content in before.items())
    assert problems(Dataset(old)) == []
