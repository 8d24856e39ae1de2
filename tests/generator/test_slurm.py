"""The same dataset from a real Slurm queue, though jobs are cancelled and their time runs out. `tests/slurm/start` starts one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import stranger
from datasets_equal import contents

from generator.clusters import contract, pool, slurm
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.running.generate import generate
from generator.running.verify import problems
from generator.running.work import Receipt
from generator.spec import spec

SPEC = 'name = "x"\ncheckpoints = 4\nprobe = 32\n[[grid]]\ntask = "digits"\narchitecture = ["mlp2", "mlp3"]\n'
SPEC += 'rule = ["sgdm", "adam", "fa", "ia", "dfa"]\nlearning_rate = [0.5, 1.0]\nepochs = {}\n'
SITE = '[cluster]\nkind = "slurm"\nwalltime = "00:10:00"\nmemory = "2 GiB"\n'
WORKER = "distributed.cli.dask_worker"


def runs() -> bool:
    found = shutil.which("sinfo")
    return bool(found) and subprocess.run([str(found), "--noheader"], capture_output=True, timeout=30).returncode == 0


pytestmark = [pytest.mark.slurm, pytest.mark.skipif(not runs(), reason="no Slurm runs here")]


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., str]:
    """Writes a site file: jobs write their output to a folder of the test's own."""
    pytest.importorskip("dask_jobqueue")

    def write(more: str = "") -> str:
        (tmp_path / "site.toml").write_text(f'{SITE}logs = "{tmp_path / "logs"}"\n{more}')
        return str(tmp_path / "site.toml")

    return write


def jobs() -> list[str]:
    """The numbers of the jobs that run."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--format=%i", "--states=running"], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def used(folder: Path) -> set[str]:
    """The jobs that cohorts came from, and that died of something."""
    log = "".join(path.read_text() for path in (folder / "log").glob("*.jsonl"))
    return {part.split('"')[0] for part in log.split('"job": "')[1:]}


@pytest.mark.parametrize("more", ["jobs = 2", "tls = false", "cores = 2"])
def test_a_slurm_queue_gives_the_same_bytes(more: str, site: Callable[..., str], tmp_path: Path) -> None:
    generate(spec.parse(SPEC.format(2)), tmp_path / "here", workers=0)
    said: list[str] = []
    made = generate(spec.parse(SPEC.format(2)), tmp_path / "x", cluster=site(more), say=said.append)
    assert made.states == {"complete": 20}
    assert any(text.startswith("tls = false: whoever reaches") for text in said) == (more == "tls = false")
    assert contents(tmp_path / "x") == contents(tmp_path / "here")
    assert used(tmp_path / "x")
    deadline = time.monotonic() + 30
    while jobs():
        assert time.monotonic() < deadline, "jobs are to end with the run"
        time.sleep(0.2)


def of_a_job(process: dict[str, Any]) -> bool:
    """Whether it is a worker that Slurm runs: other tests have workers of their own, which are open to all."""
    return WORKER in (process["cmdline"] or []) and (process["environ"] or {}).get("SLURM_JOB_ID") in jobs()


def test_nobody_else_on_the_machines_runs_code_in_a_run_or_its_jobs(site: Callable[..., str], tmp_path: Path) -> None:
    breaches: list[str] = ["never looked"]

    def look(done: object, receipt: Receipt | None) -> None:
        if receipt is not None and breaches == ["never looked"]:
            workers = [p.pid for p in psutil.process_iter(["cmdline", "environ"]) if of_a_job(p.info)]
            assert workers
            assert not [place for place in stranger.ports([os.getpid()]) if place.startswith(("0.0.0.0", "[::]", "::"))]
            (keys,) = tmp_path.glob(".keys-*")
            assert keys.stat().st_mode & 0o777 == 0o700
            places = stranger.ports([os.getpid(), *workers])
            assert len(places) >= 3  # the scheduler, a worker, its nanny
            breaches[:] = stranger.successes(places)

    generate(spec.parse(SPEC.format(2)), tmp_path / "x", cluster=site(), watch=look)
    assert breaches == []


def test_folders_with_spaces_and_scratch_of_the_job(site: Callable[..., str], tmp_path: Path) -> None:
    logs, scratch = tmp_path / "a b" / "logs of jobs", tmp_path / "of the node"
    scratch.mkdir()
    here = site(f'scratch = "$THERE/of the node"\nsetup = ["export THERE={tmp_path}"]\n')
    Path(here).write_text(Path(here).read_text().replace(str(tmp_path / "logs"), str(logs)))
    assert generate(spec.parse(SPEC.format(1)), tmp_path / "x", cluster=here).states == {"complete": 20}
    assert {path.suffix for path in logs.iterdir()} == {".err", ".out"}
    assert list(logs.parent.iterdir()) == [logs], "no keys are left"
    deadline = time.monotonic() + 30
    while list(scratch.iterdir()):
        assert time.monotonic() < deadline, "a job removes what it wrote for itself"
        time.sleep(0.2)


def test_jobs_that_do_not_start_are_said(
    site: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MISSED_SECONDS", 3.0)
    monkeypatch.setattr(contract, "RECOUNT_SECONDS", 0.1)  # a fast machine is done before the usual second look
    said: list[str] = []
    crews: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        if text.startswith("no worker"):
            set_node("resume")

    set_node("drain")
    try:
        summary = generate(
            spec.parse(SPEC.format(1)),
            tmp_path / "x",
            cluster=site(),
            say=hear,
            watch=lambda done, receipt: crews.append(done.crew),
        )
    finally:
        set_node("resume")
    assert summary.states == {"complete": 20}
    assert "0 workers, 1 job waiting" in crews
    assert crews[-1] == "1 worker"
    (sentence,) = [text for text in said if text.startswith("no worker")]
    assert sentence == (
        "no worker has come for 3 s; `squeue --me` says what their jobs wait for, and what jobs that failed had to say is in "
        f"{tmp_path / 'logs'}"
    )


def test_a_job_that_slurm_refuses_is_one_sentence(
    site: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "REFUSED", (0.5,))
    with pytest.raises(RequestError, match=r"Slurm takes no job: .*invalid partition"):
        generate(spec.parse(SPEC.format(1)), tmp_path / "x", cluster=site('partition = "nowhere"'))


def set_node(state: str) -> None:
    """Let the one node take no more jobs, or take them again."""
    name = subprocess.run(["sinfo", "--noheader", "--format=%n"], capture_output=True, text=True, check=True)
    order = ["scontrol", "update", f"NodeName={name.stdout.strip()}", f"State={state}", "Reason=test"]
    subprocess.run(order, check=state == "drain", capture_output=True)  # who is not drained cannot be resumed


def test_a_cancelled_job_is_replaced(site: Callable[..., str], tmp_path: Path) -> None:
    generate(spec.parse(SPEC.format(8)), tmp_path / "here", workers=0)
    cancelled: list[str] = []

    def cancel(done: object, receipt: Receipt | None) -> None:
        if receipt is not None and len(cancelled) < 2:
            cancelled.append(jobs()[0])
            subprocess.run(["scancel", "--signal=KILL", cancelled[-1]], check=True)
            subprocess.run(["scancel", cancelled[-1]], check=True)

    generate(spec.parse(SPEC.format(8)), tmp_path / "x", cluster=site("jobs = 2"), watch=cancel)
    assert len(cancelled) == 2
    assert contents(tmp_path / "x") == contents(tmp_path / "here")
    assert problems(Dataset(tmp_path / "x")) == []


@pytest.mark.slow
def test_a_job_whose_time_is_over_is_followed_by_another(site: Callable[..., str], tmp_path: Path) -> None:
    text = SPEC.format(60).replace('["mlp2", "mlp3"]', '"mlp3"').replace('"sgdm", "adam", "fa", "ia", ', "")

    def stop() -> None:
        """The first worker, so that its cohort outlasts its job, however fast the machine is."""
        deadline = time.monotonic() + 120
        while not (signs := list((tmp_path / "x" / "_inflight").glob("*.json"))) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(json.loads(signs[0].read_text())["pid"], signal.SIGSTOP)

    thread = threading.Thread(target=stop)
    thread.start()
    # Slurm counts in minutes, and the last of two limits holds: workers believe that they have ten
    generate(spec.parse(text), tmp_path / "x", cluster=site('directives = ["--time=00:01:00"]\n'))
    thread.join()
    assert len(list((tmp_path / "logs").glob("*.err"))) == 2, "a second job was to be needed"
    assert problems(Dataset(tmp_path / "x")) == []
    generate(spec.parse(text), tmp_path / "here", workers=0)
    assert contents(tmp_path / "x") == contents(tmp_path / "here")


def test_ctrl_c_ends_a_run_as_it_does_elsewhere(site: Callable[..., str], tmp_path: Path) -> None:
    """dask-jobqueue ends a process at Ctrl-C as if all was well."""
    (tmp_path / "spec.toml").write_text(SPEC.format(3000))
    order = [sys.executable, "-m", "rulescope", "generate", "spec.toml", "--cluster", site()]
    run = subprocess.Popen(order, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not jobs():
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    said, error = run.communicate(timeout=60)
    assert (run.returncode, error.splitlines()[-1]) == (130, "rulescope: interrupted")
    assert "the same command goes on where it stopped" in said
