"""Who may import whom: the order of the stages, in pyproject.toml, holds, and an import against it is found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def linted(root: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", REPOSITORY / "pyproject.toml"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_no_import_runs_against_the_stages() -> None:
    found = linted(REPOSITORY)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("generator/observables/recording.py", "import generator.running.work", "From a spec to a dataset"),
        ("generator/dataset/schema.py", "def late():\n    import generator.spec.spec", "From a spec to a dataset"),
        ("classifier/examples/splits.py", "import classifier.studies.evaluate", "From a dataset to an answer"),
        ("classifier/models/problem.py", "import generator.rules", "The classifier knows the dataset contract"),
        ("generator/cli.py", "import classifier.cli", "The generator does not know the classifier"),
        ("generator/anywhere.py", "", "From a spec to a dataset"),  # a file that belongs to no stage
    ],
)
def test_one_that_does_is_found(tmp_path: Path, file: str, line: str, broken: str) -> None:
    for package in ("generator", "classifier"):
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / file, "a") as changed:
        changed.write(f"\n{line}\n")
    found = linted(tmp_path)
    assert found.returncode == 1, found.stdout + found.stderr
    said = " ".join(found.stdout.split())
    assert re.search(rf"{broken}((?!KEPT).)*BROKEN", said), said
