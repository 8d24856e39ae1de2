"""Workers that die, are stopped or are pinned to a GPU; a scheduler of somebody else's. Real processes and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import flushing
import psutil
import pytest
from chaos import Proxy
from datasets_equal import contents
from distributed import LocalCluster, Worker
from distributed.core import Status

from generator.clusters import local, pinning
from generator.clusters import pool as pools
from generator.clusters import scheduler as running
from generator.clusters.local import Local
from generator.clusters.scheduler import Scheduler
from generator.dataset.storage import INFLIGHT, Dataset
from generator.errors import RequestError
from generator.running import driver
from generator.running import work as units
from generator.running.generate import dry_run, generate, prepare
from generator.running.journal import Journal
from generator.running.verify import problems
from generator.running.work import Assignment, Receipt, work
from generator.spec import planning, spec

pytestmark = pytest.mark.unchecked

SPEC = 'name = "x"\ncheckpoints = 4\nprobe = 32\n[snapshots]\n[[grid]]\ntask = "digits"\narchitecture = {}\n'
SPEC += 'rule = ["sgdm", "adam", "fa", "ia", "dfa"]\nlearning_rate = [0.5, 1.0, 2.0]\nepochs = 2\nwidth = 0.25\n'
TEXT = SPEC.format('["mlp2", "knet4lrn"]')


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset made in this process, in one go."""
    folder = tmp_path_factory.mktemp("undisturbed") / "x"
    assert generate(spec.parse(TEXT), folder, workers=0).states == {"complete": 30}
    return contents(folder)


def assignments(folder: Path, text: str = TEXT) -> list[Assignment]:
    parsed = spec.parse(text)
    made = prepare(Dataset(folder), parsed)
    return [Assignment(str(folder), n, tuple(m), parsed.settings(), parsed.snapshot_ids, "cpu") for n, m in made]


def collected(
    todo: list[Assignment], train: object, workers: int = 2
) -> tuple[dict[str, Receipt], list[dict[str, object]]]:
    """Receipts by cohort, and the journal's lines."""
    journal = Journal(Dataset(todo[0].location))
    with pools.opened(Local(workers=workers), "cpu", len(todo)) as pool:
        receipts = {receipt.cohort: receipt for receipt in driver.collect(pool, todo, journal, train)}  # type: ignore[arg-type]
    return receipts, [json.loads(line) for line in journal.lines]


# -- a cohort in parts -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("parts", [2, 3])
def test_a_cohort_in_parts_has_the_same_bytes(parts: int, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    for assignment in assignments(tmp_path / "x"):
        assert work(replace(assignment, parts=parts)).states == {"complete": 3}
    assert contents(tmp_path / "x") == undisturbed
    assert not list((tmp_path / "x" / INFLIGHT).iterdir())
    assert problems(Dataset(tmp_path / "x")) == []


# -- workers that die --------------------------------------------------------------------------------------------------
def _dies(assignment: Assignment, whom: str, when: str) -> Receipt:
    """Work, but the process is killed as it begins to train a cohort of the rule `whom`, if `when` (a file) is not there."""
    train = units._train

    def deadly(dataset: Dataset, one: Assignment, *rest: Any) -> object:
        if one.cohort.startswith(whom) and not Path(when).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return train(dataset, one, *rest)

    units._train = deadly  # type: ignore[assignment]
    try:
        return work(assignment)
    finally:
        units._train = train


def dies_of_fa(assignment: Assignment) -> Receipt:
    return _dies(assignment, "fa-mlp2", "/nonexistent")


def dies_of_large_stacks(assignment: Assignment) -> Receipt:
    """As if memory were too small for three networks at once."""
    return _dies(assignment, "fa-mlp2" if assignment.parts == 1 else "nobody", "/nonexistent")


def test_a_cohort_that_kills_its_workers_is_recorded_and_the_rest_goes_on(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    todo = assignments(tmp_path / "x")
    receipts, events = collected(todo, dies_of_fa)
    (bad,) = [name for name, receipt in receipts.items() if receipt.failure]
    assert bad.startswith("fa-mlp2")
    assert receipts[bad].failure == "the worker process died, 6 times (out of memory, or killed)"
    assert [e["event"] for e in events if e["cohort"] == bad] == ["died"] * 3 + ["halved"] + ["died"] * 3
    assert set(receipts) == {each.cohort for each in todo}
    rest = {name: content for name, content in undisturbed.items() if bad not in name}
    networks = {network.network_id for each in todo if each.cohort == bad for network in each.members}
    rest = {name: content for name, content in rest.items() if not any(network in name for network in networks)}
    assert contents(tmp_path / "x") == rest
    assert any("6 times" in problem for problem in problems(Dataset(tmp_path / "x")))
    assert generate(spec.parse(TEXT), tmp_path / "x", workers=0).states == {"complete": 30}
    assert contents(tmp_path / "x") == undisturbed


def test_a_cohort_too_large_for_its_workers_is_made_in_halves(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    receipts, events = collected(assignments(tmp_path / "x"), dies_of_large_stacks)
    assert [receipt.failure for receipt in receipts.values()] == [""] * 10
    assert [e["event"] for e in events].count("halved") == 1
    assert contents(tmp_path / "x") == undisturbed


def test_workers_taken_away_are_not_the_cohorts_fault(tmp_path: Path) -> None:
    text = SPEC.format('"mlp2"').replace("epochs = 2", "epochs = 400").replace('"adam", "fa", "ia", ', "")
    todo = assignments(tmp_path / "x", text)
    journal = Journal(Dataset(tmp_path / "x"))
    with pools.opened(Local(workers=1), "cpu", len(todo)) as pool:
        received = driver.collect(pool, todo, journal, flushing.train)
        states = [receipt.failure for receipt in _while_killing(received, tmp_path / "x", 5)]
    deaths = [json.loads(line) for line in journal.lines if '"died"' in line]
    assert states == ["", ""]
    assert len(deaths) >= 5
    assert max(each["strikes"] for each in deaths) < driver.STRIKES
    assert problems(Dataset(tmp_path / "x")) == []


def _while_killing(received: Iterator[Receipt], folder: Path, times: int) -> Iterator[Receipt]:
    """Receipts, while one worker after another is killed once it has written its cohort's state in training."""

    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (folder / INFLIGHT).glob("*.safetensors")}

    def kill() -> None:
        killed: set[int] = set()
        for _ in range(times):
            seen, deadline = written(), time.monotonic() + 60
            while time.monotonic() < deadline:
                alive = {json.loads(sign.read_text())["pid"] for sign in (folder / INFLIGHT).glob("*.json")} - killed
                if alive and written() != seen:
                    killed |= alive
                    os.kill(alive.pop(), signal.SIGKILL)
                    break
                time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    yield from received
    thread.join()


def test_a_result_that_dies_with_its_worker_is_made_again(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    todo = assignments(tmp_path / "x")
    journal, cohorts = Journal(Dataset(tmp_path / "x")), []
    with pools.opened(Local(workers=1), "cpu", len(todo)) as pool:
        for receipt in driver.collect(pool, todo, journal):
            if not cohorts:  # the next one is done, too, before its worker dies
                time.sleep(3)
                os.kill(receipt.where["pid"], signal.SIGKILL)
                time.sleep(1)
            cohorts.append(receipt.cohort)
    assert sorted(cohorts) == sorted(each.cohort for each in todo)
    assert contents(tmp_path / "x") == undisturbed


def test_a_cohort_that_somebody_else_has_made_is_not_given_up(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    todo = assignments(tmp_path / "x")
    for each in todo:
        work(each)
    assert units.give_up(todo[0], "too late") == Receipt(todo[0].cohort, 3, {"complete": 3}, 0.0)
    assert generate(spec.parse(TEXT), tmp_path / "x", workers=0).states == {"complete": 30}
    file = tmp_path / "x" / "observables" / f"{todo[1].cohort}.parquet"
    file.rename(tmp_path / "half-way")
    assert units.give_up(todo[1], "dead").failure == "dead"
    assert Dataset(tmp_path / "x").states() == {"complete": 27, "failed": 3}
    (tmp_path / "half-way").rename(file)  # it was not dead
    assert Dataset(tmp_path / "x").states() == {"complete": 30}
    assert generate(spec.parse(TEXT), tmp_path / "x", workers=0).done_now == 0
    file.unlink()
    assert generate(spec.parse(TEXT), tmp_path / "x", workers=0).done_now == 3
    assert contents(tmp_path / "x") == undisturbed


def test_workers_that_write_elsewhere_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(assignment: Assignment) -> Receipt:
        return work(replace(assignment, location=str(tmp_path / "another disk")))

    monkeypatch.setattr(driver, "work", elsewhere)
    monkeypatch.setattr("generator.running.generate.ARRIVAL", 1.0)
    with pytest.raises(RequestError, match=r"was made on .*, but its files are not in .*/x: the workers do not share"):
        generate(spec.parse(TEXT), tmp_path / "x", workers=0)


def test_a_stopped_worker_is_replaced(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(TEXT)
    command = [sys.executable, "-m", "rulescope", "generate", "x.toml", "--workers", "2", "--device", "cpu"]
    patience = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s"}
    run = subprocess.Popen(command, cwd=tmp_path, env=os.environ | patience, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (signs := list((tmp_path / "x" / INFLIGHT).glob("*.json"))) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(json.loads(signs[0].read_text())["pid"], signal.SIGSTOP)
    assert run.wait(timeout=180) == 0
    assert contents(tmp_path / "x") == undisturbed


# -- somebody else's scheduler -----------------------------------------------------------------------------------------
@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The file of a scheduler with two workers, and their processes, the scheduler's first."""
    file = str(tmp_path / "scheduler.json")
    dask = [sys.executable, "-m"]
    commands = [
        [*dask, "distributed.cli.dask_scheduler", "--port", "0", "--dashboard-address", ":0", "--scheduler-file", file],
        [
            *dask,
            "distributed.cli.dask_worker",
            "--scheduler-file",
            file,
            "--nworkers",
            "2",
            "--nthreads",
            "1",
            "--no-dashboard",
        ],
    ]
    with open(tmp_path / "dask.log", "w") as log:
        running = [subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) for command in commands]
    deadline = time.monotonic() + 60
    while not Path(file).exists():
        assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
        time.sleep(0.05)
    yield file, running
    for process in reversed(running):
        process.terminate()
        process.wait(timeout=60)


def test_a_running_scheduler_gives_the_same_bytes(
    scheduler: tuple[str, list[subprocess.Popen[bytes]]], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    summary = generate(spec.parse(TEXT), tmp_path / "x", cluster=scheduler[0])
    assert summary.states == {"complete": 30}
    assert contents(tmp_path / "x") == undisturbed
    with dask.config.set({"distributed.dashboard.link": "{NOT_SET_HERE}/status"}):  # meant for another machine
        assert generate(spec.parse(TEXT), tmp_path / "z", cluster=scheduler[0]).states == {"complete": 30}
    lines = dry_run(spec.parse(TEXT), tmp_path / "y", cluster=scheduler[0])
    assert lines[1] == f"cluster: the scheduler {scheduler[0]}, which has 2 workers"
    assert not (tmp_path / "y").exists()
    address = json.loads(Path(scheduler[0]).read_text())["address"]
    assert generate(spec.parse(TEXT), tmp_path / "x", cluster=address).done_now == 0


def test_a_scheduler_that_is_lost_or_never_was_is_one_sentence(
    scheduler: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, (main, _) = scheduler
    text = SPEC.format('"mlp2"').replace("epochs = 2", "epochs = 30")

    def stop(done: object, receipt: Receipt | None) -> None:
        if receipt is not None and main.poll() is None:
            main.kill()
            main.wait()

    monkeypatch.setattr(pools, "CONNECT_SECONDS", 3.0)
    with pytest.raises(RequestError, match="the Dask scheduler is gone; the same command goes on"):
        generate(spec.parse(text), tmp_path / "x", cluster=file, watch=stop)
    with pytest.raises(RequestError, match="there is no scheduler file"):
        generate(spec.parse(text), tmp_path / "x", cluster="none.json")
    with pytest.raises(RequestError, match=r"there is no scheduler file .*none\.json: no scheduler that wrote it"):
        running.devices(Scheduler(address=str(tmp_path / "none.json")))
    with pytest.raises(RequestError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        generate(spec.parse(text), tmp_path / "x", cluster="tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    "address",
    ["tcp://node7", "tcp://", "tcp://:8786:", "http://node7:80", "inproc://a", "gs://bucket", "tcp://node7:a"],
)
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    with pytest.raises(RequestError, match=r"is no address of a Dask scheduler, such as tcp://node7:8786"):
        running.connected(Scheduler(address=address))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"address": 5}', '{"address": "node7"}', "[" * 10**5])
def test_a_scheduler_file_that_is_none_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(RequestError, match=r"is not a scheduler file|is no address of a Dask scheduler"):
        running.connected(Scheduler(address=str(tmp_path / "x.json")))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_answers_and_is_no_scheduler_is_one_sentence(says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ANSWER_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[socket.socket] = []

        def answer() -> None:
            with suppress(OSError):
                while True:
                    heard.append(server.accept()[0])
                    heard[-1].sendall(says)

        threading.Thread(target=answer, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(RequestError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:\d+: ."):
            running.connected(Scheduler(address=f"tcp://127.0.0.1:{server.getsockname()[1]}"))
        assert time.monotonic() - began < 20
        for one in heard:
            one.close()


def test_a_connection_that_breaks_is_made_again(
    scheduler: tuple[str, list[subprocess.Popen[bytes]]], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    proxy = Proxy(json.loads(Path(scheduler[0]).read_text())["address"])
    cuts: list[str] = []

    def cut(done: object, receipt: Receipt | None) -> None:
        if receipt is not None and len(cuts) < 2:
            cuts.append(receipt.cohort)
            proxy.cut()

    summary = generate(spec.parse(TEXT), tmp_path / "x", cluster=proxy.address, watch=cut)
    proxy.close()
    assert summary.states == {"complete": 30}
    log = "".join(path.read_text() for path in (tmp_path / "x" / "log").glob("*.jsonl"))
    assert log.count('"lost"') >= 2
    assert contents(tmp_path / "x") == undisturbed


def test_workers_that_die_as_they_are_asked_are_asked_again(
    scheduler: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(folder: str = str(tmp_path), most: int = 2) -> str:
        import os
        from pathlib import Path

        if len(list(Path(folder).glob("*.died"))) < most:
            (Path(folder) / f"{os.getpid()}.died").touch()
            os.kill(os.getpid(), 9)
        return "cpu"

    def state(dask_worker: Any) -> str:
        return str(dask_worker.status.name)

    site = Scheduler(address=scheduler[0])
    with running.connected(site) as client:
        client.wait_for_workers(2, timeout=60)
        while set(client.run(state, nanny=True).values()) != {"running"}:  # a nanny restarts what it has started
            time.sleep(0.1)
    monkeypatch.setattr(running, "_device", deadly)
    assert running.devices(site) == {"cpu"}
    assert len(list(tmp_path.glob("*.died"))) == 2


def test_a_scheduler_may_start_its_workers_when_there_is_work(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    said: list[str] = []
    with LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=50
    ) as adaptive:
        adaptive.adapt(minimum=0, maximum=1, interval="200ms")
        address = adaptive.scheduler_address
        summary = generate(spec.parse(TEXT), tmp_path / "x", cluster=address, say=said.append)
    assert summary.states == {"complete": 30}
    assert said[0] == f"waiting for a worker of {address}"
    assert contents(tmp_path / "x") == undisturbed


# -- GPUs --------------------------------------------------------------------------------------------------------------
def test_workers_take_turns_at_the_visible_devices() -> None:
    assert [pinning.pinned(name, "3,5") for name in (0, 1, 2, "3", "host-x-4")] == ["3", "5", "3", "5", "3"]
    assert pinning.pinned("SLURMCluster-7-1", "GPU-aa, GPU-bb") == "GPU-bb"
    assert pinning.pinned("SLURMCluster-7", "4") == "4"
    assert pinning.pinned("anything", "0,1") == "0,1"


def _visible(dask_worker: Worker) -> tuple[str, str]:
    return str(dask_worker.name), os.environ.get(pinning.VISIBLE, "none")


def test_each_local_worker_sees_one_gpu_before_cuda_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pinning.VISIBLE, "2,7")
    site = Local(workers_per_gpu=2)
    assert site.count("cuda") == 4
    with pools.opened(site, "cuda", 100) as pool:
        seen = dict(pool.client.run(_visible).values())
    assert seen == {"0": "2", "1": "7", "2": "2", "3": "7"}


def test_workers_on_the_cpu_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pinning.VISIBLE, raising=False)
    with pools.opened(Local(workers=1), "cpu", 100) as pool:
        assert dict(pool.client.run(_visible).values()) == {"0": "none"}


@pytest.mark.skipif(sys.platform != "linux", reason="only there can they be copies")
def test_workers_are_copies_of_a_process_that_has_loaded_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    with pools.opened(Local(workers=2), "cpu", 2) as pool:
        first = {psutil.Process(pid).parent() for pid in pool.client.run(os.getpid).values()}
    monkeypatch.setenv("SET_BETWEEN_TWO_RUNS", "x")
    with pools.opened(Local(workers=1), "cpu", 1) as pool:
        second = {psutil.Process(pid).parent() for pid in pool.client.run(os.getpid).values()}
        assert set(pool.client.run(os.getenv, "SET_BETWEEN_TWO_RUNS").values()) == {"x"}
    assert first == second != {psutil.Process()}


def test_a_place_that_dask_gives_up_gets_a_worker_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "REFILLED_MS", 500)
    with pools.opened(Local(workers=1), "cpu", 1) as pool:
        assert dask.config.get(local.CLOSED) == local.NEVER
        cluster = pool.client.cluster
        (nanny,) = cluster.workers.values()
        cluster.sync(nanny.close)  # as it does by itself if it cannot start a worker
        pool.client.submit(os.getpid, pure=False).result(timeout=60)
        assert list(cluster.workers.values()) != [nanny]


def test_a_worker_that_dies_as_it_starts_has_a_successor() -> None:
    with pools.opened(Local(workers=1), "cpu", 1) as pool:
        (nanny,) = pool.client.cluster.workers.values()
        first = nanny.pid
        os.kill(first, signal.SIGKILL)
        while nanny.pid in (first, None):
            time.sleep(0.01)
        assert nanny.process.status == Status.starting
        os.kill(nanny.pid, signal.SIGKILL)
        assert pool.client.submit(os.getpid, pure=False).result(timeout=60) != first


def test_ctrl_c_before_dask_has_begun_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pools.opened(Local(workers=1), "cpu", 1) as pool:
        pool.client.loop.add_callback(time.sleep, 1)  # meanwhile it does not begin anything else
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            pool.client.nthreads()
        assert pool.present() == 1
    assert [record.message for record in caplog.records if record.name == "tornado.application"] == []


# -- the order ---------------------------------------------------------------------------------------------------------
def test_a_dataset_cut_short_has_the_same_share_of_every_rule() -> None:
    text = TEXT.replace('["mlp2", "knet4lrn"]', '["mlp2", "mlp3", "knet4", "knet4lrn"]')
    parsed = spec.parse(text)
    cohorts = [(c.name, m) for c, m in planning.form_cohorts(parsed.networks)]
    ordered = planning.in_turn(cohorts, parsed)
    assert sorted(name for name, _ in ordered) == sorted(name for name, _ in cohorts)
    cost = {name: planning.cost(members, parsed) for name, members in cohorts}
    rules = {members[0].rule.label for _, members in cohorts}
    for rule in rules:
        costs = [cost[name] for name, members in ordered if members[0].rule.label == rule]
        assert costs == sorted(costs, reverse=True)
    for cut in range(0, len(ordered), len(rules)):
        done = [members[0].rule.label for _, members in ordered[:cut]]
        assert {done.count(rule) for rule in rules} == {cut // len(rules)}
