"""A dataset in an object store, through the real S3 protocol: the same bytes, and the same care, as on a disk."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from datasets_equal import contents
from pyarrow import fs
from typer.testing import CliRunner

import rulescope as rs
from classifier.examples.trajectories import load
from classifier.models.stored import load as load_model
from classifier.report import report as reporting
from classifier.report.robustness import FILES, robustness
from classifier.studies.study import Study
from generator.dataset.layout import MARK
from generator.dataset.schema import KINDS
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import generate
from generator.running.hold import Hold
from generator.running.status import status
from generator.running.verify import problems
from generator.spec.spec import parse

pytestmark = pytest.mark.unchecked

SPEC = (
    'name = "x"\ncheckpoints = 4\nprobe = 32\n[snapshots]\n[[grid]]\ntask = "digits"\narchitecture = ["mlp2", "mlp3"]\n'
)
SPEC += 'rule = ["sgdm", "fa"]\nepochs = 2\n'


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a dataset in an empty bucket, with a place for a path."""
    pytest.importorskip("moto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], **silent)
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/").close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.1)
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("EC2_METADATA_DISABLED", "true")):
        monkeypatch.setenv(f"AWS_{name}", value)
    where = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http", "region": "us-east-1"}
    fs.S3FileSystem(**where, allow_bucket_creation=True).create_dir("data")
    yield "s3://data/{}?" + "&".join(f"{key}={value}" for key, value in where.items())
    server.kill()
    server.wait()


def test_a_dataset_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    parsed, place = parse(SPEC), bucket.format("some/x")
    assert generate(parsed, place, workers=2).states == {"complete": 4}
    dataset = Dataset(place)
    assert str(dataset) == "s3://data/some/x"
    assert problems(dataset) == []
    assert (status(dataset).complete, status(dataset).driver) == (4, {})
    assert not dataset.files("_inflight")

    dataset.remove(f"observables/{dataset.cohorts()[1].name}.parquet")
    assert (
        CliRunner()
        .invoke(rs.command_line(), ["generate", place, "--workers", "0"])
        .output.endswith("1 of them done now\n")
    )
    with pytest.raises(
        RequestError, match=r"^s3://data/none\S* is no dataset; a spec that is not in one is a file here$"
    ):
        generate(bucket.format("none"), workers=0)
    fs.copy_files(str(dataset.root), str(tmp_path / "x"), source_filesystem=dataset.fs)
    generate(parsed, tmp_path / "here", workers=0)
    assert contents(tmp_path / "x") == contents(tmp_path / "here")

    assert (load(place).values == load(tmp_path / "here").values).sum() > 0
    with Hold(dataset), pytest.raises(RequestError, match=r"s3://data/some/x is being made by process \d+"):
        generate(parsed, place, workers=0)


def test_small_files_in_a_bucket_are_put_together(bucket: str) -> None:
    place, dataset = bucket.format("some/x"), Dataset(bucket.format("some/x"))
    generate(parse(SPEC), place, workers=0)
    before, networks = load(place), dataset.read_kind("networks")
    found = rs.compact(place)
    assert (found.before, found.after) == (4, 1)
    assert [info.base_name[: len(MARK)] for kind in KINDS for info in dataset.files(kind)] == [MARK, MARK]
    assert dataset.read_kind("networks").equals(networks)
    assert np.array_equal(load(place).values, before.values, equal_nan=True)
    assert problems(dataset) == []
    assert not dataset.exists("driver.json")
    assert generate(parse(SPEC), place, workers=0).done_now == 0


@pytest.mark.slow
def test_what_is_found_in_a_bucket_stays_there(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files of a report, its model, and of robustness, whose scores power finds there."""
    place, dataset = bucket.format("some/x"), Dataset(bucket.format("some/x"))
    grid = "learning_rate = [0.5, 1.0, 2.0]\nseeds = 2\nwidth = 0.0625\n[[electrode]]\nunits = [4]\n"
    generate(parse(SPEC.replace("[snapshots]\n", "") + grid), place, workers=0)
    for name, value in (("FEATURES", ("levels",)), ("N_SPLITS", 2), ("SEEDS", 2), ("OTHER_SPLITS", ("paper",))):
        monkeypatch.setattr(reporting, name, value)
    monkeypatch.setattr("classifier.report.robustness.SESSIONS", (2,))
    assert reporting.report(place, permute_labels=0, models=["forest"]) == "s3://data/some/x/report"
    robustness(place, study=Study(n_splits=2))
    drawn = {*reporting.PICTURES, "curves"} - {"reliability"}  # too few scenarios are tested for it
    names = {f"{name}.{kind}" for name in drawn for kind in ("png", "svg")}
    names |= {"evaluation.json", "seeds.json", "splits.json", "results.md", "index.html"}
    assert {info.base_name for info in dataset.files("report")} == names
    assert rs.evaluate(dataset, models=["forest"], features=["levels"], n_splits=2)["networks"] > 0
    assert load_model(dataset.inside("report/model")).card.model == "forest"
    assert len(dataset.files("report/conditions")) == 1
    assert not any(tmp_path.rglob("report"))
    assert b"endpoint_override" not in dataset.read("report/index.html")
    drawn = {f"{name}.{kind}" for name in ("units", "sessions") for kind in ("png", "svg")}
    assert {info.base_name for info in dataset.files("report/robustness")} == {*FILES, *drawn}


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("status", "s3://b/x?endpoint_override={}&scheme=http&region=us-east-1"),
        ("evaluate", "gs://anonymous@b/x?endpoint_override={}"),
    ],
)
def test_what_does_not_answer_is_not_waited_for(command: str, place: str) -> None:
    """As without a network. By themselves the libraries try for minutes, also as the process ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = place.format(f"127.0.0.1:{silent.getsockname()[1]}")
        code = "import sys, rulescope, generator.dataset.folder as s; s.PATIENCE = 1.0; rulescope.main()"
        done = subprocess.run([sys.executable, "-c", code, command, uri], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"rulescope: {uri} is no place for a dataset, or cannot be reached: no answer within 1 s\n"


@pytest.mark.parametrize(("uri", "why"), [("az://b/x", "Unrecognized filesystem type"), ("s3://B C/x", "")])
def test_a_place_that_cannot_be_is_one_sentence(uri: str, why: str) -> None:
    with pytest.raises(RequestError, match=f"{uri} is no place for a dataset, or cannot be reached: .*{why}") as caught:
        Dataset(uri)
    assert "\n" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_one_sentence(bucket: str) -> None:
    with pytest.raises(RequestError, match=r"cannot write none/x/driver\.json: .*bucket"):
        generate(parse(SPEC), bucket.replace("data", "none").format("x"), workers=0)
