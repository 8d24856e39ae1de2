"""Runs: the same bytes whatever the workers, after any kill, and when a spec grows; refusals; failures that are rows."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets_equal import contents
from typer.testing import CliRunner

from generator.cli import _Progress
from generator.console import Shown
from generator.dataset import layout
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import Done, generate, prepare
from generator.running.verify import problems
from generator.running.work import Assignment, Receipt, give_up
from generator.spec import planning, spec
from generator.training.stack import Stack
from rulescope import command_line

HEAD = 'name = "runs"\ncheckpoints = 4\nprobe = 32\n[snapshots]\n'
BLOCK = '[[grid]]\ntask = "digits"\narchitecture = ["mlp2", "mlp3"]\nrule = ["sgdm", "adam", "fa", "ia", "dfa"]\nepochs = 3\n'
GROWN = BLOCK + '[[grid]]\ntask = "photos"\narchitecture = "mlp2"\nrule = ["sgdm", "fa"]\nepochs = 2\n'


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset made in this process, in one go."""
    folder = tmp_path_factory.mktemp("undisturbed") / "runs"
    assert generate(spec.parse(HEAD + BLOCK), folder, workers=0).states == {"complete": 10}
    return contents(folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_does_not_change_a_byte(
    workers: int, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    summary = generate(spec.parse(HEAD + BLOCK), tmp_path / "runs", workers=workers)
    assert summary.states == {"complete": 10}
    assert contents(tmp_path / "runs") == undisturbed


def test_progress_counts_work_and_is_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.cli.LINE_SECONDS", 0.0)
    path = tmp_path / "x.toml"
    path.write_text(HEAD + BLOCK.replace('["sgdm", "adam", "fa", "ia", "dfa"]', '"sgdm"').replace("3\n", "[1, 9]\n"))
    found = CliRunner().invoke(command_line(), ["generate", str(path), "--workers", "0"], catch_exceptions=False)
    *lines, last = found.stdout.splitlines()
    shares = [re.fullmatch(r"(\d)/4 networks, \d+\.\d/s, 0 diverged, (\d+)% of the work", line) for line in lines]
    done = [(int(share[1]), int(share[2])) for share in shares if share]
    assert [networks for networks, _ in done] == [1, 2, 3, 4]  # no line but these
    assert len(lines) == 4
    assert done[0][1] > 30  # those of nine epochs come first
    assert done[-1][1] == 100
    assert last.endswith("4 networks (4 complete), 4 of them done now")


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_says_who_works(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.cli.LINE_SECONDS", 0.0)
    console = Shown(file=io.StringIO(), force_terminal=terminal, width=120)
    with _Progress(console) as progress:
        progress.watch(Done(1, 4, 1.0, 4.0), None)
        progress.watch(Done(1, 4, 1.0, 4.0, crew="3 workers, 2 jobs waiting"), None)
    assert "0 diverged, 3 workers, 2 jobs waiting" in console.file.getvalue()  # type: ignore[attr-defined]


def test_running_again_does_nothing(tmp_path: Path) -> None:
    parsed = spec.parse(HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp2"'))
    generate(parsed, tmp_path / "runs", workers=0)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "observables").iterdir()}
    assert generate(parsed, tmp_path / "runs", workers=0).done_now == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "observables").iterdir()} == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a = " + b"[" * 10**4, "nested too deeply"),
        (b"grid = \xff", "not text in UTF-8"),
        (b"grid = [", "not valid TOML"),
        (b"", "KeyError"),
        (b"grid = 5", "TypeError"),
        (b"[[grid]]\ntask = 5", "Type"),
        (b"[[grid]]\ntask = [[5]]", "TypeError"),
    ],
)
def test_a_damaged_spec_in_a_dataset_is_one_sentence(content: bytes, why: str, tmp_path: Path) -> None:
    parsed, dataset = spec.parse(HEAD + BLOCK), Dataset(tmp_path / "x")
    prepare(dataset, parsed)
    dataset.publish("spec.toml", content)
    with pytest.raises(RequestError, match=rf"x/spec\.toml is damaged: .*{why}"):
        generate(parsed, tmp_path / "x", workers=0)


def test_what_killed_workers_left_behind_is_swept_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "runs"

    def leave(done: object, receipt: Receipt | None) -> None:
        if receipt is not None:  # as a worker that was thought dead, and has woken up, would
            (folder / "observables" / f".{receipt.cohort}.parquet.0.staged").touch()
            (folder / "_inflight" / f"{receipt.cohort}.safetensors").touch()

    generate(spec.parse(HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp2"')), folder, workers=0, watch=leave)
    assert not list(folder.rglob("*.staged"))
    assert not list((folder / "_inflight").iterdir())


def test_a_killed_run_and_a_spec_that_grew_give_the_same_dataset(tmp_path: Path) -> None:
    folder, file = tmp_path / "runs", tmp_path / "runs.toml"
    file.write_text(HEAD + BLOCK)
    command = [sys.executable, "-m", "rulescope", "generate", str(file), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("networks/*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(Dataset(folder).complete())
    assert 0 < done < 10, "the run was to be killed in the middle"

    file.write_text(HEAD + GROWN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert problems(Dataset(folder)) == []
    assert not list(folder.rglob("*.staged"))

    whole = tmp_path / "whole"
    generate(spec.parse(HEAD + BLOCK), whole, workers=0)
    generate(spec.parse(HEAD + GROWN), whole, workers=0)
    assert contents(folder) == contents(whole)
    ids = Dataset(folder).read_kind("networks").column("network_id").to_pylist()
    assert sorted(ids) == sorted(n.network_id for n in spec.parse(HEAD + GROWN).networks)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('name = "runs"\n', 'name = "runs"\nroot_seed = 7\n'), "made with root_seed = 0, and the spec says 7"),
        (("checkpoints = 4", "checkpoints = 3"), "made with checkpoints = 4, and the spec says 3"),
        (("probe = 32", "probe = 33"), "made with probe = 32, and the spec says 33"),
        (('"fa", "ia", ', '"ia", '), "holds 1 networks that the spec no longer has"),
    ],
)
def test_a_dataset_made_with_something_else_is_refused(change: tuple[str, str], sentence: str, tmp_path: Path) -> None:
    text = HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp2"')
    generate(spec.parse(text), tmp_path / "runs", workers=0)
    before = contents(tmp_path / "runs")
    with pytest.raises(RequestError, match=sentence):
        generate(spec.parse(text.replace(*change)), tmp_path / "runs", workers=0)
    assert contents(tmp_path / "runs") == before


def test_a_folder_with_foreign_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "observables").mkdir()
    (tmp_path / "observables" / "a.parquet").write_bytes(b"")
    with pytest.raises(RequestError, match=r"no cohorts\.json"):
        generate(spec.parse(HEAD + BLOCK), tmp_path, workers=0)


def test_a_cohort_that_fails_is_recorded_spares_the_others_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = spec.parse(HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp2"'))
    step = Stack.step

    def broken(self: Stack, batch: object) -> object:
        if self.first.rule.label == "fa":
            raise RuntimeError("a rule with a bug")
        return step(self, batch)

    monkeypatch.setattr(Stack, "step", broken)
    summary = generate(parsed, tmp_path / "runs", workers=0)
    assert summary.states == Dataset(tmp_path / "runs").states() == {"complete": 4, "failed": 1}
    assert "a rule with a bug" in summary.failures[0]
    assert any("a rule with a bug" in problem for problem in problems(Dataset(tmp_path / "runs")))
    (file,) = (tmp_path / "runs" / "failed").iterdir()
    record = Dataset(tmp_path / "runs").read_table(f"failed/{file.name}", "networks")
    Dataset(tmp_path / "runs").publish_table(f"failed/{file.name}", record.slice(0, 0))
    assert f"{file} does not hold the networks recorded for it" in problems(Dataset(tmp_path / "runs"))

    monkeypatch.undo()
    summary = generate(parsed, tmp_path / "runs", workers=0)
    assert (summary.done_now, summary.states) == (1, {"complete": 5})
    assert problems(Dataset(tmp_path / "runs")) == []
    assert not list((tmp_path / "runs" / "failed").iterdir())


@pytest.mark.parametrize("failed", [False, True], ids=["at the first go", "that had failed"])
def test_a_kill_between_a_cohorts_two_files_only_means_doing_it_again(
    failed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = spec.parse(HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp2"'))
    if failed:
        for name, members in prepare(Dataset(tmp_path / "runs"), parsed):
            settings = parsed.settings()
            give_up(
                Assignment(str(tmp_path / "runs"), name, tuple(members), settings, parsed.snapshot_ids, "cpu"), "dead"
            )
    publish = Dataset.publish_table
    published = []

    def killed_after_the_first(self: Dataset, name: str, table: object) -> None:
        if published:
            raise KeyboardInterrupt
        published.append(name)
        publish(self, name, table)  # type: ignore[arg-type]

    monkeypatch.setattr(Dataset, "publish_table", killed_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        generate(parsed, tmp_path / "runs", workers=0)
    monkeypatch.undo()
    assert published[0].startswith("observables/"), "what is recorded is there"
    assert Dataset(tmp_path / "runs").complete() == set(), f"{published[0]} alone makes no complete cohort"
    assert generate(parsed, tmp_path / "runs", workers=0).states == {"complete": 5}
    assert problems(Dataset(tmp_path / "runs")) == []


def test_files_that_a_folder_lists_late_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete, made = Dataset.complete, list[float]()

    def listed(self: Dataset) -> set[str]:
        found = complete(self)
        if len(found) == 5:
            made.append(time.monotonic())
            if made[-1] < made[0] + 2:
                found.remove(max(found))
        return found

    monkeypatch.setattr(Dataset, "complete", listed)
    parsed = spec.parse(HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp2"'))
    assert generate(parsed, tmp_path / "runs", workers=0).states == {"complete": 5}
    assert Dataset(tmp_path / "runs").read_table("networks.parquet", "networks").num_rows == 5


def test_rules_of_one_seed_start_equal_and_see_equal_batches() -> None:
    networks = spec.parse(HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp3"')).networks
    stacks = [Stack([network]) for network in networks]
    for stack in stacks[1:]:
        for step in (0, 25):
            assert (stack.batch(step).x == stacks[0].batch(step).x).all()
        for mine, other in zip(stack.parameters, stacks[0].parameters, strict=True):
            assert (mine == other).all()
    assert not (stacks[0].batch(0).y == stacks[0].batch(1).y).all()


def test_a_cuda_device_is_asked_for_in_vain_with_a_sentence(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(RequestError, match="no CUDA device"):
        generate(spec.parse(HEAD + BLOCK), tmp_path / "runs", workers=0, device="cuda")


ONE = HEAD + BLOCK.replace('["mlp2", "mlp3"]', '"mlp2"').replace('["sgdm", "adam", "fa", "ia", "dfa"]', '"fa"')


def test_a_dataset_is_gone_on_with_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "made"
    generate(spec.parse(ONE), place, workers=0)
    monkeypatch.chdir(place)
    for name in (place, place / "spec.toml", "spec.toml", "."):
        next((place / "networks").iterdir()).unlink()
        summary = generate(name, workers=0)
        assert (summary.location, summary.done_now > 0) == (str(place), True)
    assert not (place / "runs").exists()
    assert problems(Dataset(place)) == []
    assert generate(place / "spec.toml", tmp_path / "other", workers=0).location == str(tmp_path / "other")
    with pytest.raises(RequestError, match=r"cannot read the spec .*: it is not a file"):
        generate(tmp_path, workers=0)


@pytest.mark.parametrize("out", ["", "a\0b"])
def test_no_place_is_refused(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for attempt in (lambda: generate(spec.parse(ONE), out), lambda: problems(Dataset(out))):
        with pytest.raises(RequestError, match="names no place for a dataset"):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_long_names_are_cut_or_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the spec: name: string should have at most 200 characters"):
        spec.parse(ONE.replace('"runs"', f'"{"a" * 201}"'))
    with pytest.raises(RequestError, match="File name too long"):
        generate(spec.parse(ONE), tmp_path / ("a" * 256), workers=0)
    assert list(tmp_path.iterdir()) == []


def test_a_task_of_a_long_name_makes_cohorts_of_cut_names() -> None:
    grid = '[[grid]]\ntask = "digits"\narchitecture = "mlp2"\nrule = "fa"\nbatch_size = [2, 5]\n'
    names = []
    for network in spec.parse(HEAD + grid).networks:
        assert network.network_id  # which is kept from now on
        object.__setattr__(network, "task", f"hub:{'d' * 300}")
        names.append(planning.named([network])[0].name)
    assert [len(layout.named(name)) for name in names] == [200, 200]
    assert len(set(names)) == 2
