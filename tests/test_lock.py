"""The lock has the versions that everything is tested with, and a hash for each of their files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def test_the_lock_pins_what_the_constraints_pin_each_with_its_hashes() -> None:
    pins = re.findall(r"^([\w.-]+==\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    locked = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().split("\n", 2)[2].strip())
    assert [entry.split(" ", 1)[0] for entry in locked] == [pin for pin in pins if not pin.startswith("torch==")]
    for entry in locked:
        assert re.fullmatch(r"\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry


def test_libraries_whose_insides_are_read_stay_below_their_next_major_version() -> None:
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounded = {re.split("[<>=]", need)[0] for need in needs if "<" in need}
    assert bounded >= {"scikit-learn", "xgboost", "skops"}  # classifier/models/soundness.py


def test_no_skops_may_be_installed_that_takes_a_types_word_for_what_it_is() -> None:
    """Version 0.11 let a file run code through a type that named itself numpy.dtype."""
    needs = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    (skops,) = [need.specifier for need in needs if need.name == "skops"]
    assert "0.11.0" not in skops
    assert "0.12.0" in skops
