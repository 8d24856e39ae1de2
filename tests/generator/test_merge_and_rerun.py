"""Datasets put together, and single networks trained again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from safetensors.numpy import load_file

from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import generate
from generator.running.merge import merge
from generator.running.rerun import rerun
from generator.running.verify import problems
from generator.spec.spec import parse, read

HEAD = 'name = "x"\ncheckpoints = 3\nprobe = 16\n[[electrode]]\nunits = 5\nnoise = 0.5\n'
BLOCK = '[[grid]]\ntask = "{}"\narchitecture = "mlp2"\nrule = {}\nepochs = 1\nbatch_size = 100\nseeds = 2\n'
DIGITS, PHOTOS = BLOCK.format("digits", '["sgdm", "fa"]'), BLOCK.format("photos", '"sgdm"')


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three datasets: two parts, and the whole."""
    root = tmp_path_factory.mktemp("merge")
    for name, grid in (("digits", DIGITS), ("photos", PHOTOS), ("whole", DIGITS + PHOTOS)):
        generate(parse(HEAD + grid), root / name, workers=0)
    return root


def test_a_merged_dataset_is_the_one_that_a_joint_spec_makes(made: Path, tmp_path: Path) -> None:
    merged = merge(tmp_path / "both", [made / "digits", made / "photos"])
    assert problems(merged) == []
    for kind in ("observables", "networks"):
        names = sorted(file.name for file in (tmp_path / "both" / kind).iterdir())
        assert names == sorted(file.name for file in (made / "whole" / kind).iterdir())
    for file in (made / "whole" / "observables").iterdir():
        assert (tmp_path / "both" / "observables" / file.name).read_bytes() == file.read_bytes()
    assert generate(read(tmp_path / "both" / "spec.toml"), tmp_path / "both", workers=0).done_now == 0
    assert (tmp_path / "both" / "croissant.json").is_file()
    again = merge(tmp_path / "both", [made / "digits", made / "photos"])
    assert again.cohorts() == merged.cohorts()


def test_what_a_part_lacks_is_generated_later(made: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    generate(parse(HEAD + DIGITS), unfinished, workers=0)
    lost = next((unfinished / "observables").iterdir())
    lost.unlink()
    both = merge(tmp_path / "both", [unfinished, made / "photos"])
    assert not both.exists(f"networks/{lost.name}"), "a record without its observables is copied"
    summary = generate(read(tmp_path / "both" / "spec.toml"), tmp_path / "both", workers=0)
    assert summary.done_now == 4
    assert problems(Dataset(tmp_path / "both")) == []
    # a complete copy of a cohort is taken whichever comes first
    merge(tmp_path / "three", [unfinished, made / "digits", made / "photos"])
    assert problems(Dataset(tmp_path / "three")) == []


def test_what_cannot_be_merged_is_one_sentence(made: Path, tmp_path: Path) -> None:
    generate(parse(HEAD.replace("= 16", "= 17") + PHOTOS), tmp_path / "probe", workers=0)
    with pytest.raises(RequestError, match=r"was made with probe = 17, and .*digits with 16"):
        merge(tmp_path / "out", [made / "digits", tmp_path / "probe"])
    generate(parse(HEAD + DIGITS.replace("seeds = 2", "seeds = 1")), tmp_path / "fewer", workers=0)
    with pytest.raises(RequestError, match=r"a dataset holds a network once"):
        merge(tmp_path / "out", [made / "digits", tmp_path / "fewer"])
    with pytest.raises(RequestError, match="is another dataset already"):
        merge(tmp_path / "fewer", [made / "digits", made / "photos"])
    damaged = next((tmp_path / "probe" / "networks").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(RequestError, match=rf"{damaged} is not a readable .*: `rulescope generate .*` makes it again"):
        merge(tmp_path / "out", [tmp_path / "probe", tmp_path / "probe"])
    with pytest.raises(RequestError, match="at least two"):
        merge(tmp_path / "out", [made / "digits"])
    assert not (tmp_path / "out").exists()


def test_a_network_trained_again_has_the_datasets_numbers(made: Path) -> None:
    rows = pd.read_parquet(made / "whole" / "observables")
    chosen = rows.network_id.unique()[5]
    found = rerun(made / "whole", chosen[:8], device="cpu")
    assert found.network.network_id == chosen
    assert (found.checkpoints, Path(found.folder).name) == (3, chosen)
    assert 0 <= found.difference < 1e-4
    tensors = load_file(Path(found.folder) / "2.safetensors")
    row = rows.query("network_id == @chosen and checkpoint == 2 and layer == 'fc1' and electrode == 'full'")
    assert row.weight_raw_mean.item() == pytest.approx(float(tensors["fc1.weight"].astype(np.float64).mean()), rel=1e-4)
    assert problems(Dataset(made / "whole")) == []


def test_numbers_that_do_not_come_out_are_seen(tmp_path: Path) -> None:
    generate(parse(HEAD + PHOTOS), tmp_path / "x", workers=0)
    (file,) = (tmp_path / "x" / "observables").iterdir()
    table = Dataset(tmp_path / "x").read_table(f"observables/{file.name}", "observables")
    place = table.schema.get_field_index("weight_abs_mean")
    spoilt = table.set_column(place, table.schema.field(place), pc.multiply(table.column(place), np.float32(1.01)))
    Dataset(tmp_path / "x").publish_table(f"observables/{file.name}", spoilt)
    assert rerun(tmp_path / "x", table.column("network_id")[0].as_py()).difference == pytest.approx(0.0099, rel=0.01)
    file.unlink()
    assert np.isnan(rerun(tmp_path / "x", table.column("network_id")[0].as_py(), tmp_path / "out").difference)


def test_a_network_that_is_not_there_is_one_sentence(made: Path) -> None:
    with pytest.raises(RequestError, match="no network whose identity begins with 'zz'"):
        rerun(made / "whole", "zz")
    with pytest.raises(RequestError, match="12 networks whose identity begins with ''"):
        rerun(made / "whole", "")
