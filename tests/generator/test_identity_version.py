"""Datasets made before numbers changed: they can be read and evaluated, and say in a sentence why no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rulescope
from classifier.examples.trajectories import load
from generator.dataset.schema import IDENTITY_VERSION
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import dry_run, generate
from generator.running.merge import merge
from generator.running.rerun import rerun
from generator.running.status import status
from generator.running.verify import problems
from generator.spec import network
from generator.spec.spec import parse

HEAD = 'name = "x"\ncheckpoints = 3\nprobe = 16\n'
BLOCK = '[[grid]]\ntask = "{}"\narchitecture = "mlp2"\nrule = ["sgdm", "fa"]\nepochs = 1\nbatch_size = 100\n'
DIGITS, PHOTOS = HEAD + BLOCK.format("digits"), HEAD + BLOCK.format("photos")
SENTENCE = f"holds networks of identity version 1, and this Rulescope makes version {IDENTITY_VERSION}"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets as the first version made them: other identities, and no word of a version."""
    root = tmp_path_factory.mktemp("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "IDENTITY_VERSION", 1)
        for name, text in (("digits", DIGITS), ("photos", PHOTOS)):
            generate(parse(text), root / name, workers=0)
            record = json.loads((root / name / "cohorts.json").read_text())
            del record["identity_version"]
            (root / name / "cohorts.json").write_text(json.dumps(record))
    return root


def test_a_new_dataset_says_its_version_and_nothing_else(tmp_path: Path) -> None:
    generate(parse(DIGITS), tmp_path / "new", workers=0)
    assert json.loads((tmp_path / "new" / "cohorts.json").read_text())["identity_version"] == IDENTITY_VERSION
    assert Dataset(tmp_path / "new").outdated() == ""


def test_it_can_be_read_and_verified(old: Path) -> None:
    assert problems(Dataset(old / "digits")) == []
    examples = load(old / "digits")
    assert sorted(examples.identity["rule"].unique()) == ["fa", "sgdm"]
    assert len(examples) == 4


@pytest.mark.parametrize("command", ["verify", "status"])
def test_verify_and_status_say_so(old: Path, command: str) -> None:
    result = CliRunner().invoke(rulescope.command_line(), [command, str(old / "digits")])
    assert result.exit_code == 0
    assert SENTENCE in " ".join(result.stdout.split())
    assert status(Dataset(old / "digits")).recorded == 2


def test_it_is_neither_gone_on_with_nor_grown_nor_trained_again(old: Path) -> None:
    before = sorted(path.name for path in (old / "digits").rglob("*"))
    grown = parse(DIGITS + BLOCK.format("photos"))
    for spec in (parse(DIGITS), grown):
        for attempt in (lambda s: generate(s, old / "digits", workers=0), lambda s: dry_run(s, old / "digits")):
            with pytest.raises(RequestError, match=f"{SENTENCE}.*give this spec a name, or --out, of its own"):
                attempt(spec)
    network = Dataset(old / "digits").cohorts()[0].network_ids[0]
    with pytest.raises(RequestError, match=SENTENCE):
        rerun(old / "digits", network)
    assert {*before} >= {path.name for path in (old / "digits").rglob("*")} - {"driver.json"}


def test_old_ones_merge_with_each_other_alone(old: Path, tmp_path: Path) -> None:
    both = merge(tmp_path / "both", [old / "digits", old / "photos"])
    assert (both.identity_version(), both.networks()) == (1, 4)
    generate(parse(PHOTOS), tmp_path / "new", workers=0)
    with pytest.raises(RequestError, match=r"identity version 2, and .*digits of version 1"):
        merge(tmp_path / "mixed", [old / "digits", tmp_path / "new"])
