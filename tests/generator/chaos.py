"""Faults for a dataset in the making: real processes killed, stopped and cut off, on three kinds of cluster."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

HERE = Path(__file__).parent
PATIENCE = 120.0  # seconds for something to happen
REST = 3600.0  # seconds for what the faults left to do
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s",
}


def until(found: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something. Raises AssertionError if it does not come."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.05)


class Proxy:
    """Hands the connections to a port of its own on to a server here (tcp://…:port), until they are cut."""

    def __init__(self, server: str) -> None:
        self.server, self.open = ("127.0.0.1", int(server.rpartition(":")[2])), set[socket.socket]()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self.listening.accept()
                try:
                    far = socket.create_connection(self.server)
                except OSError:
                    near.close()
                    continue
                self.open |= {near, far}
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                sink.sendall(block)
        self._close(source, sink)

    def _close(self, *ends: socket.socket) -> None:
        for end in ends:
            self.open.discard(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        self._close(*tuple(self.open))

    def close(self) -> None:
        """The end."""
        with suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.cut()


class Campaign:
    """A dataset, made by one driver after another on one place after another, under faults.

    Args:
        folder: with the spec `x.toml`; the dataset is `x`. What happens goes to `chaos.log`, what drivers say to `driver1.log`, …
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.dataset = folder, folder / "x"
        self.random = random.Random(seed)
        self.log = (folder / "chaos.log").open("w")
        self.faults: Counter[tuple[str, str]] = Counter()
        self.drivers = 0
        self.driver: subprocess.Popen[bytes] | None = None
        self.excused = False  # whether the driver may end with an error
        self.stopped: dict[int, psutil.Process] = {}

    # -- drivers -------------------------------------------------------------------------------------------------------
    def drive(self, place: Place) -> None:
        """See that a driver runs; another one if the last has ended as it may."""
        if self.driver is not None and self.driver.poll() is None:
            return
        self.judge()
        self.drivers += 1
        self.say(f"driver {self.drivers} on {place.name}")
        command = [sys.executable, str(HERE / "flushing.py"), "generate", "x.toml", "--device", "cpu", *place.options()]
        with self._output().open("w") as output:
            self.driver = subprocess.Popen(
                command, cwd=self.folder, env=ENVIRONMENT, stdout=output, stderr=output, start_new_session=True
            )

    def _output(self) -> Path:
        """Of the driver of now."""
        return self.folder / f"driver{self.drivers}.log"

    def judge(self) -> None:
        """Raises AssertionError if a driver ended for no reason that it was given."""
        if self.driver is None:
            return
        status, said = self.driver.wait(timeout=PATIENCE), self._output().read_text()
        assert status == 0 or self.excused, f"driver {self.drivers} ended by itself: {said}"
        assert status < 0 or "Traceback" not in said, said
        self.driver, self.excused = None, False

    def end(self) -> None:
        """Ctrl-C, unless it has ended."""
        if self.driver is not None and self.driver.poll() is None:
            self.excused = True
            self.driver.send_signal(signal.SIGINT)
        self.judge()

    def say(self, text: str) -> None:
        """A line of the log."""
        self.log.write(f"== {time.strftime('%X')} {text}\n")
        self.log.flush()

    # -- workers -------------------------------------------------------------------------------------------------------
    def training(self) -> list[dict[str, object]]:
        """The signs of those that train something."""
        signs = []
        for path in (self.dataset / "_inflight").glob("*.json"):
            with suppress(OSError, ValueError):
                sign = json.loads(path.read_text())
                if sign["pid"] not in self.stopped and _lives(sign["pid"], sign["begun"]):
                    signs.append(sign)
        return signs

    def one(self) -> psutil.Process:
        """One of them."""
        return psutil.Process(int(str(self.random.choice(self.training())["pid"])))

    def stop(self, process: psutil.Process) -> None:
        """Stop it; every other time it wakes up again later, when its cohort may be done."""
        self.stopped[process.pid] = process
        process.suspend()
        if self.random.random() < 0.5:
            threading.Timer(self.random.uniform(1, 20), self._wake, (process,)).start()

    def _wake(self, process: psutil.Process) -> None:
        with suppress(psutil.NoSuchProcess):
            process.resume()
        self.stopped.pop(process.pid, None)

    def bury(self) -> None:
        """Kill those that are still stopped, as the machine's next start would."""
        for process in tuple(self.stopped.values()):
            with suppress(psutil.NoSuchProcess):
                process.kill()  # unless another one has its number by now

    # -- the whole -----------------------------------------------------------------------------------------------------
    def run(self, plan: list[tuple[Place, list[str]]]) -> None:
        """One place after the other, with its faults; then to the end without any."""
        with self.log:
            for number, (place, faults) in enumerate(plan, start=1):
                with place:
                    for fault in faults:
                        self._inflict(place, fault)
                    if number < len(plan):
                        self.end()
                    else:
                        self._finish(place)
            self.bury()

    def _finish(self, place: Place) -> None:
        """Let a driver make the rest; whoever owns the place still starts again what the last faults took from it."""
        deadline = time.monotonic() + REST
        self.drive(place)
        assert self.driver is not None
        while self.driver.poll() is None:
            assert time.monotonic() < deadline, f"the rest was not done in {REST:g} s: see chaos.log"
            place.mend()
            time.sleep(0.5)
        self.judge()

    def _inflict(self, place: Place, fault: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline, f"nothing was in training for {PATIENCE:g} s: see chaos.log"
            place.mend()
            assert not self.driver or self.driver.poll() != 0, (
                "the dataset was done before its faults were: make it larger"
            )
            self.drive(place)
            if self.training():
                time.sleep(self.random.uniform(0, 1.5))
                with suppress(IndexError, psutil.NoSuchProcess):  # just then it was done
                    self.say(f"{place.name}: {fault}")
                    getattr(place, fault.replace(" ", "_"))()
                    self.faults[place.name, fault] += 1
                    return
            time.sleep(0.05)


def _lives(pid: int, begun: str) -> bool:
    """Whether the process that began to train then lives; another one may have its number by now."""
    try:
        process = psutil.Process(pid)
        older = process.create_time() < datetime.fromisoformat(begun).timestamp()
        return older and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


class Place:
    """Somewhere to make a dataset, local workers here, and what may happen there: a method each."""

    name = "local"
    faults: tuple[str, ...] = ("worker killed", "worker stopped", "driver killed")

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign

    def options(self) -> list[str]:
        """Of `rulescope generate`."""
        return ["--workers", "2"]

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing running."""

    def mend(self) -> None:
        """What whoever owns the place would start again."""

    def worker_killed(self) -> None:
        self.campaign.one().kill()

    def worker_stopped(self) -> None:
        self.campaign.stop(self.campaign.one())

    def driver_killed(self) -> None:
        assert self.campaign.driver is not None
        self.campaign.excused = True
        self.campaign.driver.kill()
        self.campaign.driver.wait()

    def nanny_killed(self) -> None:
        """Of a worker with one."""
        nanny = self.campaign.one().parent()
        assert nanny is not None
        assert nanny.pid not in (1, os.getpid(), self.campaign.driver and self.campaign.driver.pid)
        nanny.kill()


class RunningScheduler(Place):
    """A scheduler with two workers. All talk to it through proxies: the workers through one, the driver through another."""

    name = "scheduler"
    faults = ("worker killed", "worker stopped", "nanny killed", "connections cut", "driver cut off", "driver killed")

    def options(self) -> list[str]:
        return ["--cluster", self.near.address]

    def __enter__(self) -> Place:
        file = self.campaign.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        options = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0", "--scheduler-file", str(file)]
        self.scheduler = self._start("dask_scheduler", *options)
        until(file.exists, "the scheduler")
        server = json.loads(file.read_text())["address"]
        self.near, self.far = Proxy(server), Proxy(server)
        self.nannies: list[subprocess.Popen[bytes]] = []
        return self

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        log = self.campaign.log
        command = [sys.executable, "-m", f"distributed.cli.{what}", *options]
        return subprocess.Popen(command, cwd=self.campaign.folder, env=ENVIRONMENT, stdout=log, stderr=log)

    def mend(self) -> None:
        self.nannies = [nanny for nanny in self.nannies if nanny.poll() is None]
        while len(self.nannies) < 2:
            self.nannies.append(self._start("dask_worker", self.far.address, "--nthreads", "1", "--no-dashboard"))

    def __exit__(self, *_: object) -> None:
        self.campaign.bury()
        for process in (*self.nannies, self.scheduler):
            process.terminate()
        for process in (*self.nannies, self.scheduler):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            process.wait()
        self.near.close()
        self.far.close()

    def connections_cut(self) -> None:
        self.far.cut()

    def driver_cut_off(self) -> None:
        self.near.cut()


class Queue(Place):
    """A Slurm queue with two jobs at a time."""

    name, jobs = "slurm", "rulescope-chaos"
    # a killed driver's jobs end a minute later by themselves: it is the last, and they are cancelled
    faults = ("worker killed", "worker stopped", "nanny killed", "job cancelled", "time over", "driver killed")

    def options(self) -> list[str]:
        site = self.campaign.folder / "site.toml"
        logs = self.campaign.folder / "logs"
        site.write_text(
            '[cluster]\nkind = "slurm"\njobs = 2\nwalltime = "00:30:00"\nmemory = "2 GiB"\n'
            f'logs = "{logs}"\ndirectives = ["--job-name={self.jobs}"]\n'
        )
        return ["--cluster", str(site)]

    def __exit__(self, *_: object) -> None:
        self.campaign.bury()
        subprocess.run(["scancel", f"--name={self.jobs}"], check=True)
        until(lambda: not self._jobs(), "the end of all jobs")

    def _jobs(self) -> list[str]:
        command = ["squeue", "--noheader", "--format=%i", f"--name={self.jobs}"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        return listed.stdout.split()

    def _job(self) -> str:
        return str(self.campaign.random.choice([sign["job"] for sign in self.campaign.training() if "job" in sign]))

    def job_cancelled(self) -> None:
        subprocess.run(["scancel", self._job()], check=True)

    def time_over(self) -> None:
        """Slurm counts in minutes, so this takes one or two."""
        job = self._job()
        subprocess.run(["scontrol", "update", f"JobId={job}", "TimeLimit=1"], check=True)
        until(lambda: job not in self._jobs(), "the end of a job whose time is over", 240)
