"""What goes wrong around a run: two drivers, Ctrl-C, a full disk, a read-only one. Each is a sentence, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import generate
from generator.running.hold import BEAT, FILE, STALE, Hold
from generator.running.verify import problems
from generator.spec.spec import parse

pytestmark = pytest.mark.unchecked

SPEC = 'name = "x"\ncheckpoints = 4\nprobe = 32\n[[grid]]\ntask = "digits"\narchitecture = ["mlp2", "mlp3"]\n'
SPEC += 'rule = ["sgdm", "adam", "fa", "ia", "dfa"]\nepochs = {}\n'


def start(folder: Path, epochs: int = 3, workers: int = 0) -> subprocess.Popen[str]:
    """`rulescope generate` in a process group of its own, as in a terminal."""
    (folder / "x.toml").write_text(SPEC.format(epochs))
    command = [sys.executable, "-m", "rulescope", "generate", "x.toml", "--workers", str(workers), "--device", "cpu"]
    return subprocess.Popen(
        command, cwd=folder, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def until(what: str, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(folder.glob(what)):
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.02)


# -- two drivers -------------------------------------------------------------------------------------------------------
def sign(folder: Path, **about: object) -> None:
    folder.mkdir(exist_ok=True)
    known = {"token": "a", "host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}
    (folder / FILE).write_text(json.dumps(known | about))


def test_a_second_driver_says_who_holds_the_dataset_and_disturbs_nothing(tmp_path: Path) -> None:
    first = start(tmp_path, epochs=60)
    until("x/cohorts.json", tmp_path)
    with pytest.raises(
        RequestError, match=rf"is being made by process {first.pid} on {socket.gethostname()}, alive \d+ s"
    ):
        generate(parse(SPEC.format(60)), tmp_path / "x", workers=0)
    _, errors = first.communicate(timeout=120)
    assert (first.returncode, errors) == (0, "")
    assert problems(Dataset(tmp_path / "x")) == []
    assert not (tmp_path / "x" / FILE).exists()


def test_a_driver_elsewhere_is_respected_until_it_has_been_silent_for_long(tmp_path: Path) -> None:
    parsed = parse(SPEC.format(1))
    sign(tmp_path / "x", host="elsewhere", pid=1)
    with pytest.raises(RequestError, match="process 1 on elsewhere"):
        generate(parsed, tmp_path / "x", workers=0)
    sign(tmp_path / "x", host="elsewhere", pid=1, at=time.time() - STALE - 1)
    assert generate(parsed, tmp_path / "x", workers=0).states == {"complete": 10}


def test_a_folder_in_the_place_of_the_sign_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE / "a").mkdir(parents=True)
    with pytest.raises(RequestError, match=rf"cannot remove {tmp_path / FILE}: "), Hold(Dataset(tmp_path)):
        pass


def test_a_clock_that_is_ahead_locks_no_dataset(tmp_path: Path) -> None:
    """The storage's clock says when the sign was left: just now, or long ago."""
    place, ahead = tmp_path / "x", time.time() + 86400
    sign(place, host="elsewhere", pid=1, at=ahead)
    with pytest.raises(RequestError, match="process 1 on elsewhere, alive 0 s ago"), Hold(Dataset(place)):
        pass
    os.utime(place / FILE, (time.time() - STALE - 1,) * 2)
    with Hold(Dataset(place)) as hold:
        hold.check()
    sign(place, host="elsewhere", pid=1, at=ahead)
    os.utime(place / FILE, (ahead, ahead))
    with Hold(Dataset(place)):
        pass


@pytest.mark.parametrize("content", [None, "", "[]", '{"pid": 3}'])
def test_what_a_killed_driver_left_is_taken_over(content: str | None, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    sign(tmp_path / "x", pid=gone.pid)
    if content is not None:
        (tmp_path / "x" / FILE).write_text(content)
    with Hold(Dataset(tmp_path / "x")) as hold:
        hold.check()
    assert not (tmp_path / "x" / FILE).exists()


def test_a_disk_without_hard_links_has_one_driver_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", none)
    dataset = Dataset(tmp_path / "x")
    with Hold(dataset) as hold:
        hold.check()
        with pytest.raises(RequestError, match=f"is being made by process {os.getpid()}"), Hold(dataset):
            pass
    assert list((tmp_path / "x").iterdir()) == []


def test_a_driver_that_was_taken_over_notices(tmp_path: Path) -> None:
    with Hold(Dataset(tmp_path / "x")) as hold:
        hold.check()
        sign(tmp_path / "x", token="another")
        with pytest.raises(RequestError, match="another run has taken over"):
            hold.check()
    assert (tmp_path / "x" / FILE).exists(), "the other's sign stays"


def test_signs_of_life_are_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BEAT < STALE / 3
    monkeypatch.setattr("generator.running.hold.BEAT", 0.05)
    with Hold(Dataset(tmp_path / "x")):
        first = (tmp_path / "x" / FILE).read_text()
        deadline = time.monotonic() + 10
        while (tmp_path / "x" / FILE).read_text() == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("moment", "workers"),
    [("x/cohorts.json", 2), ("x/observables/*.parquet", 2), ("x/networks/*.parquet", 0)],
)
def test_ctrl_c_stops_cleanly_says_how_far_it_is_and_the_same_command_goes_on(
    moment: str, workers: int, tmp_path: Path
) -> None:
    run = start(tmp_path, epochs=30, workers=workers)
    until(moment, tmp_path)
    time.sleep(0.5)
    os.killpg(run.pid, signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (130, "rulescope: interrupted\n")
    assert "of the 10 networks left to do are done; the same command goes on where it stopped" in output
    assert not (tmp_path / "x" / FILE).exists()
    summary = generate(parse(SPEC.format(30)), tmp_path / "x", workers=0)
    assert summary.states == {"complete": 10}
    assert problems(Dataset(tmp_path / "x")) == []
    assert not list((tmp_path / "x").rglob("*.staged"))


# -- disks -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 150 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_is_one_sentence_and_nothing_half_written_counts(workers: int, small_disk: Path) -> None:
    parsed = parse(SPEC.format(1))
    with pytest.raises(RequestError, match=r"cannot write .*/disk/x/.*: No space left on device"):
        generate(parsed, small_disk / "x", workers=workers)
    done = len(Dataset(small_disk / "x").complete())
    assert 0 < done < 10
    assert not list((small_disk / "x").rglob("*.staged"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert generate(parsed, small_disk / "x", workers=0).done_now == 10 - done
    assert problems(Dataset(small_disk / "x")) == []


def test_a_read_only_place_is_one_sentence(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RequestError, match=r"cannot write .*/disk/x.*: Read-only file system"):
        generate(parse(SPEC.format(1)), small_disk / "x", workers=0)
