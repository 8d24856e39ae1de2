"""Workers, through Dask: processes here, jobs of a Slurm queue, or what a running scheduler has. One cohort each at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.clusters import pinning, process
from generator.clusters.site import Local, Scheduler, Site, Slurm
from generator.errors import RequestError

if TYPE_CHECKING:
    from dask.distributed import Client

TASK = "cohort"  # the name of its tasks to Dask
CONNECT_SECONDS = 30.0
MISSED_SECONDS = 60.0  # without any worker, before that is said
LOST = "the Dask scheduler is gone; the same command goes on where this run stopped"
REFUSED = (5.0, 20.0)  # seconds after which a job that Slurm refused is submitted again
ASKED = (0.0, 1.0, 5.0, 20.0)  # seconds after which the workers of a scheduler are asked, if none answered before
RECOUNT_SECONDS = 5.0  # between two looks at how many workers a scheduler has

CONFIG: dict[str, Any] = {
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS:g}s",
    "distributed.scheduler.default-task-durations": {TASK: "1h"},  # a worker for each, from the beginning
    "distributed.worker.profile.enabled": False,  # sampling every 10 ms takes the GIL and grows without end
}


@dataclass(frozen=True)
class Pool:
    """Workers to submit to. `workers`: how many there are, or may be; `refusals`: what Slurm said to jobs it did not take."""

    client: Client
    workers: Callable[[], int]
    refusals: Sequence[str] = ()

    def check(self) -> None:
        """Raises RequestError if it is no use to wait: the scheduler is gone, or there is no worker and Slurm takes no job."""
        if self.client.status not in ("running", "connecting"):
            raise RequestError(LOST)
        if self.refusals and not self.client.nthreads():
            raise RequestError(f"Slurm takes no job: {self.refusals[-1]}")

    @property
    def dashboard(self) -> str:
        """Where Dask shows what they do; empty if it cannot (that takes the package bokeh)."""
        try:
            import bokeh  # noqa: F401
        except ImportError:
            return ""
        return str(self.client.dashboard_link or "")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Does not start CUDA."""
    if visible := os.environ.get(pinning.VISIBLE, "").strip():
        return [device.strip() for device in visible.split(",")]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def local_workers(site: Local, device: str = "cpu") -> int:
    """How many processes a local site means: one per core, or `workers_per_gpu` for each GPU."""
    if site.workers is not None:
        return site.workers
    return len(gpus()) * site.workers_per_gpu if device == "cuda" else cores()


@contextmanager
def opened(
    site: Site, device: str, most: int, say: Callable[[str], None] = lambda text: None, failures: int = 0
) -> Iterator[Pool]:
    """A site's workers.

    Args:
        device: "cpu" or "cuda".
        most: workers that there is work for.
        say: told if none comes for a while.
        failures: deaths of workers that Dask itself makes good, by giving the task to another one.

    Raises:
        RequestError: they cannot be had.
    """
    import dask
    import distributed  # noqa: F401  (its defaults come before what is set here)

    opener: Any = {Local: _local, Slurm: _slurm, Scheduler: _scheduler}[type(site)]
    with dask.config.set(CONFIG | {"distributed.scheduler.allowed-failures": failures}), ExitStack() as stack:
        pool = opener(site, device, most, stack)
        stack.enter_context(_missed(site, pool.client, say))
        yield pool


@contextmanager
def _missed(site: Site, client: Client, say: Callable[[str], None]) -> Iterator[None]:
    """Say so if no worker has come after a while."""
    if isinstance(site, Slurm):
        logs = os.path.abspath(site.logs)
        why = f"`squeue --me` says what their jobs wait for, and what jobs that failed had to say is in {logs}"
    else:
        why = "they come from where the cluster was started"

    def look() -> None:
        with suppress(OSError):  # the scheduler is gone: who waits for results hears of it
            if not client.nthreads():
                say(f"no worker has come for {MISSED_SECONDS:g} s; {why}")

    timer = threading.Timer(MISSED_SECONDS, look)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# -- here --------------------------------------------------------------------------------------------------------------
def _local(site: Local, device: str, most: int, stack: ExitStack) -> Pool:
    import dask
    from dask.distributed import Client, LocalCluster

    count = min(local_workers(site, device), most)
    environment = process.environment() | ({pinning.VISIBLE: ",".join(gpus())} if device == "cuda" else {})
    stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": environment}))
    with process.uninterrupted():
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address=":0",  # any free port: several runs share a machine
            silence_logs=50,
            preload=[pinning.__name__],
        )
        client = stack.enter_context(Client(stack.enter_context(cluster)))
    return Pool(client, lambda: count)


# -- a Slurm queue -----------------------------------------------------------------------------------------------------
def slurm_options(site: Slurm) -> dict[str, Any]:
    """What dask-jobqueue is told about each job.

    Workers end by themselves some time before the walltime, not all at once, so that Slurm kills none of them at work.
    """
    margin = min(300, site.seconds // 5)
    lifetime = ["--lifetime", f"{site.seconds - margin}s", "--lifetime-stagger", f"{margin // 2}s"]
    gres = [f"--gres=gpu:{site.gpus}"] if site.gpus else []
    return {
        "queue": site.partition,
        "account": site.account,
        "walltime": site.walltime,
        "cores": site.workers_per_job,
        "processes": site.workers_per_job,
        "job_cpu": site.cores,
        "memory": site.memory,
        "job_name": "rulescope",
        "job_extra_directives": [*gres, *site.directives],
        "job_script_prologue": [*site.setup, f'eval "$({site.python or sys.executable} -m {process.__name__})"'],
        "worker_extra_args": [*lifetime, "--preload", pinning.__name__],
        "python": site.python,
        "local_directory": site.scratch,
        "log_directory": os.path.abspath(site.logs),
    }


def job_script(site: Slurm) -> str:
    """What would be submitted for each job."""
    from dask_jobqueue.slurm import SLURMJob

    options = slurm_options(site) | {"log_directory": None}  # whose folder it would make
    script = SLURMJob(scheduler="<scheduler>", name="<worker>", interface=site.interface, **options).job_script()
    logs = os.path.abspath(site.logs)
    return str(script).replace(
        "#SBATCH -n 1", f"#SBATCH -e {logs}/rulescope-%J.err\n#SBATCH -o {logs}/rulescope-%J.out\n#SBATCH -n 1"
    )


def _slurm(site: Slurm, device: str, most: int, stack: ExitStack) -> Pool:
    import dask
    from dask.distributed import Client, Security

    refusals: list[str] = []
    jobs = min(site.jobs, -(-most // site.workers_per_job))
    security, shared = None, str(Path(site.logs).absolute().parent)
    if site.tls:
        security = Security.temporary()
        os.makedirs(shared, exist_ok=True)
    stack.enter_context(dask.config.set({"distributed.adaptive.interval": "5s"}))
    try:
        with process.uninterrupted():
            cluster = slurm_cluster()(
                job_cls=_persistent_job(refusals),
                interface=site.interface,
                scheduler_options={"dashboard_address": ":0"},
                silence_logs=50,
                security=security,
                shared_temp_directory=shared,
                **slurm_options(site),
            )
            stack.enter_context(cluster)
            cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
            client = stack.enter_context(Client(cluster))
    except (OSError, ValueError, RuntimeError) as error:
        raise RequestError(f"the Slurm cluster cannot be started: {error}") from error
    return Pool(client, lambda: jobs * site.workers_per_job, refusals)


def _persistent_job(refusals: list[str]) -> Any:
    """dask-jobqueue's job, which is submitted again if Slurm refuses it; what it last said is added to a list."""
    from dask_jobqueue.slurm import SLURMJob
    from distributed.core import Status

    class Job(SLURMJob):
        async def _submit_job(self, script_filename: str) -> Any:
            for seconds in REFUSED:
                with suppress(RuntimeError):
                    return await super()._submit_job(script_filename)
                await asyncio.sleep(seconds)
            try:
                return await super()._submit_job(script_filename)
            except RuntimeError as error:
                refusals.append(_said(str(error)))
                self.status = Status.failed
                raise

    return Job


def _said(text: str) -> str:
    """What sbatch said, of all that dask-jobqueue says of it."""
    said = [line.strip() for line in text.splitlines() if line.startswith("sbatch:")]
    return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in said) or text.strip()


def slurm_cluster() -> Any:
    """dask-jobqueue's cluster. Raises RequestError if it is not installed, or if there is no Slurm here."""
    import shutil

    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise RequestError("a Slurm cluster needs dask-jobqueue: pip install 'rulescope[cluster]'") from error
    if shutil.which("sbatch") is None:
        raise RequestError("there is no sbatch on this machine: run this where Slurm jobs can be submitted")
    return SLURMCluster


# -- a scheduler that runs already -------------------------------------------------------------------------------------
def _scheduler(site: Scheduler, device: str, most: int, stack: ExitStack) -> Pool:
    log = logging.getLogger("distributed.client")  # it has pages to say of a lost scheduler
    stack.callback(log.setLevel, log.level)
    log.setLevel(logging.CRITICAL)
    return Pool(client := stack.enter_context(connected(site)), _Recount(client))


def connected(site: Scheduler) -> Client:
    """A client of a running scheduler. Raises RequestError if it does not answer."""
    from dask.distributed import Client

    if site.address.endswith(".json") and not os.path.isfile(site.address):
        raise RequestError(f"there is no scheduler file {site.address}: no scheduler that wrote it is running")
    where: dict[str, Any] = (
        {"scheduler_file": site.address} if site.address.endswith(".json") else {"address": site.address}
    )
    try:
        with process.uninterrupted():
            return Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # the latter for a TLS address without TLS settings
        raise RequestError(f"no Dask scheduler answers at {site.address}: {error}") from error


class _Recount:
    """How many workers a scheduler has, counted now and then."""

    def __init__(self, client: Client) -> None:
        self.client, self.found, self.at = client, 0, -RECOUNT_SECONDS

    def __call__(self) -> int:
        if time.monotonic() - self.at > RECOUNT_SECONDS:
            with suppress(OSError):  # the scheduler is gone: its futures say so
                self.found, self.at = len(self.client.nthreads()), time.monotonic()
        return self.found


def devices(site: Scheduler, say: Callable[[str], None] = lambda text: None) -> set[str]:
    """The devices, "cuda" or "cpu", that the workers of a scheduler have; waits for the first of them, and says so.

    Raises:
        RequestError: the scheduler does not answer, or no worker does, or Rulescope is not installed where they run.
    """
    from concurrent.futures import CancelledError

    for seconds in ASKED:  # workers may die, or a connection break, just then
        time.sleep(seconds)
        try:
            found = _ask(site, say)
        except (OSError, CancelledError) as lost:
            why = f"the scheduler {site.address} was there, and is gone: {lost}"
            continue
        for error in found:
            if isinstance(error, AttributeError) or lacks_code(error):
                raise RequestError(
                    f"{site.address}: the scheduler or its workers cannot import Rulescope: {error}; install it there"
                ) from error
        if answers := {device for device in found if isinstance(device, str)}:
            return answers
        why = f"no worker of {site.address} answers"
    raise RequestError(why)


def _ask(site: Scheduler, say: Callable[[str], None]) -> list[Any]:
    """Each worker's device, or why it does not answer."""
    with connected(site) as client:
        found = []
        if not client.nthreads():
            say(f"waiting for a worker of {site.address}")
            found = [client.submit(_device, pure=False).exception()]  # an adaptive cluster starts workers for a task
        return [*found, *client.run(_device, on_error="return").values()]


def lacks_code(error: object) -> bool:
    """Whether an error from elsewhere says that something cannot be imported there."""
    return isinstance(error, ImportError) or isinstance(getattr(error, "__cause__", None), ImportError)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def described(site: Site, device: str) -> list[str]:
    """A site in words, and the job script if it has one."""
    match site:
        case Local(workers=0):
            return ["cluster: none, cohorts are trained in this process"]
        case Local():
            each = f", {site.workers_per_gpu} per GPU" if device == "cuda" else ""
            return [f"cluster: {local_workers(site, device)} local worker processes on {device}{each}"]
        case Slurm():
            have = f"{site.gpus} GPUs" if site.gpus else f"{site.cores} cores"
            what = f"cluster: up to {site.jobs} Slurm jobs of {site.workers_per_job} workers on {have}, {site.walltime} each"
            slurm_cluster()
            return [what, job_script(site)]
        case Scheduler():
            with connected(site) as client:
                threads = client.nthreads()
            several = sum(count > 1 for count in threads.values())
            but = f"; {several} of them have several threads, of which one is used" if several else ""
            return [f"cluster: the scheduler {site.address}, which has {len(threads)} workers{but}"]


def workers(site: Site, device: str) -> int:
    """How many cohorts would be trained at once."""
    match site:
        case Local():
            return max(1, local_workers(site, device))
        case Slurm():
            return site.jobs * site.workers_per_job
        case Scheduler():
            with connected(site) as client:
                return max(1, len(client.nthreads()))
