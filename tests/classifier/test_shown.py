"""What was computed is not lost to how it is shown: a pipe that closes, a full disk, another encoding, odd names."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import rulescope
from generator.console import Shown
from rulescope import command_line

RULESCOPE = [sys.executable, "-m", "rulescope"]
EVALUATE = ["--models", "forest", "--features", "shape", "--observables", "all", "--n-splits", "2", "--json", "r.json"]


def evaluate(dataset: Path, folder: Path, stdout: int) -> tuple[int, str]:
    """The exit status and what was said on stderr, of a process of its own."""
    order = [*RULESCOPE, "evaluate", str(dataset), *EVALUATE]
    done = subprocess.run(order, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=200)
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
def test_a_terminal_of_another_encoding_is_shown_what_it_can_show(
    encoding: str, traced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "argv", ["rulescope", "evaluate", str(traced), *EVALUATE])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        rulescope.main()
    assert (end.value.code, capfd.readouterr().err) == (0, "")
    assert isinstance(terminal.buffer, io.BytesIO)
    shown = terminal.buffer.getvalue().decode(encoding)
    assert "1.000 +- 0.000" in shown or "1.000 ± 0.000" in shown


@pytest.mark.parametrize(
    ("command", "study", "shows"),
    [
        ("evaluate", "classifier.studies.evaluate.evaluate", "classifier.report.tables.print_evaluation"),
        ("controls", "classifier.studies.controls.controls", "classifier.report.tables.print_controls"),
        ("robustness", "classifier.report.robustness.robustness", "classifier.report.robustness.show_study"),
        ("transfer", "classifier.studies.transfer.transfer", "classifier.report.transfer.print_transfer"),
        ("power", "classifier.power.power.power", "classifier.report.tables.print_power"),
        ("importance", "classifier.studies.importance.importance", "typer.echo"),
    ],
)
def test_json_is_written_before_anything_is_shown(
    command: str, study: str, shows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError

    found = {} if command in ("evaluate", "controls", "transfer", "power") else pd.DataFrame()
    monkeypatch.setattr(study, lambda *_, **__: found)
    monkeypatch.setattr(shows, closed)
    done = CliRunner().invoke(
        command_line(), [command, "x", *["y"] * (command == "transfer"), "--json", str(tmp_path / "r.json")]
    )
    assert isinstance(done.exception, BrokenPipeError)
    assert json.loads((tmp_path / "r.json").read_text()) in ({}, [], {"conditions": []})


def test_what_is_shown_in_a_pipe_is_whole_and_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever width the terminal is said to have."""
    monkeypatch.setenv("COLUMNS", "20")
    odd = "run[/b] [red]x[bold] :smile: " + "long " * 20
    Shown().print(odd)
    Shown().table(odd, [["name"], [odd]])
    assert capsys.readouterr().out.count(odd.strip()) == 3


def test_names_are_no_markup(
    traced: Path,
    tmp_path: Path,
    command: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = tmp_path / "run[/b] [red]x[bold]"
    odd.parent.mkdir()
    odd.symlink_to(traced)
    monkeypatch.setenv("COLUMNS", "20")
    done = command("evaluate", odd, *EVALUATE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Accuracy per network (scenario split, target rule, electrode full, sampling all)" in done.stdout
    done = command("generate", "demo", "--out", "run[/b]", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "run[/b]" in done.stdout
