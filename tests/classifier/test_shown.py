"""What was computed is not lost to how it is shown: a pipe that closes, a full disk, another encoding, odd names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RULESCOPE = [sys.executable, "-m", "rulescope"]
EVALUATE = ["--models", "forest", "--features", "shape", "--observables", "all", "--n-splits", "2", "--json", "r.json"]


def evaluate(dataset: Path, folder: Path, stdout: int, **environment: str) -> tuple[int, str]:
    """The exit status and what was said on stderr."""
    order = [*RULESCOPE, "evaluate", str(dataset), *EVALUATE]
    done = subprocess.run(
        order, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True, env=os.environ | environment, timeout=200
    )
    return done.returncode, done.stderr


def accuracy(folder: Path) -> float:
    found = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    return float(found["models"]["forest"]["all"]["network"]["mean"])


def test_a_pipe_that_closes_costs_nothing_that_was_asked_for(traced: Path, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    assert evaluate(traced, tmp_path, writes) == (141, "")
    assert accuracy(tmp_path) == 1.0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk at hand")
def test_a_full_disk_for_what_is_printed_is_one_sentence(traced: Path, tmp_path: Path) -> None:
    status, said = evaluate(traced, tmp_path, os.open("/dev/full", os.O_WRONLY))
    assert (status, said) == (
        2,
        "rulescope: the answer cannot be written to where it was sent: No space left on device\n",
    )
    assert accuracy(tmp_path) == 1.0


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "latin-1"])
def test_a_terminal_of_another_encoding_is_shown_what_it_can_show(encoding: str, traced: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        status, said = evaluate(traced, tmp_path, out.fileno(), PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (status, said) == (0, "")
    shown = (tmp_path / "out").read_bytes().decode(encoding)
    assert "1.000 +- 0.000" in shown or "1.000 ± 0.000" in shown


def test_names_are_no_markup_and_tables_in_a_pipe_are_whole(traced: Path, tmp_path: Path) -> None:
    """Tables are as wide as they are, whatever the terminal is said to have."""
    odd = tmp_path / "run[/b] [red]x[bold]"
    odd.parent.mkdir()
    odd.symlink_to(traced)
    order = [*RULESCOPE, "evaluate", str(odd), *EVALUATE]
    done = subprocess.run(order, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"COLUMNS": "20"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "Accuracy per network (scenario split, target rule, electrode full, sampling all)" in done.stdout
    report = [*RULESCOPE, "generate", "demo", "--out", "run[/b]", "--dry-run"]
    done = subprocess.run(report, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run[/b]" in done.stdout
