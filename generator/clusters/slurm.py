"""`slurm`: jobs of a Slurm queue, through dask-jobqueue."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr

from generator.clusters import pinning, process, quiet
from generator.clusters.contract import NOWHERE, Folder, Pool, Say, Started, Text, Word, check_folder
from generator.errors import RequestError
from generator.toml import PositiveInt

if TYPE_CHECKING:
    from dask.distributed import Security

CERTIFICATE, KEY = "certificate.pem", "key.pem"
REFUSED = (5.0, 20.0)  # seconds after which a job that Slurm refused is submitted again


def _memory(text: str) -> str:
    if not (found := re.fullmatch(r"(\d+(\.\d+)?) ?[kMGT]i?B", text)) or not float(found[1]):
        raise ValueError('must be an amount of memory, such as "8 GiB" or "120 GB"')
    return text


def _walltime(text: str) -> str:
    if not set(text) & set("123456789"):
        raise ValueError("must be a time, not none at all")
    return text


def _directive(text: str) -> str:
    if not text.startswith("-"):
        raise ValueError('must be an option of sbatch, such as "--constraint=a100"')
    return text


class Slurm(Started):
    """Jobs of a Slurm queue, submitted while there is work and taken back when there is none.

    Args:
        jobs: at a time, at most.
        partition, account, walltime: as `sbatch` takes them.
        cores: CPU cores of a job; without GPUs as many workers.
        gpus: of a job; each gets `workers_per_gpu` workers.
        memory: of a job; workers share it evenly.
        directives: further options of `sbatch`, such as "--constraint=a100".
        setup: lines of shell before the workers start, such as "module load python". They run as you.
        python: on the nodes; by default the one that runs this.
        interface: the network interface between nodes and this machine, such as "ib0".
        scratch: a folder local to the nodes, for workers' temporary files, such as "$SLURM_TMPDIR"; by default the system's.
        logs: a folder for the jobs' output; by default `logs` in the working directory's `.rulescope`.
        tls: encrypt what driver and workers say to each other, with keys made for this run, and let nobody else in.
    """

    kind: Literal["slurm"] = "slurm"
    jobs: PositiveInt = 1
    partition: Word | None = None
    account: Word | None = None
    walltime: Annotated[StrictStr, Field(pattern=r"^(\d+-)?\d{1,3}:\d\d:\d\d$"), AfterValidator(_walltime)] = "24:00:00"
    cores: PositiveInt = 1
    gpus: Annotated[StrictInt, Field(ge=0)] = 0
    workers_per_gpu: PositiveInt = 1
    memory: Annotated[StrictStr, AfterValidator(_memory)] = "8 GiB"
    directives: tuple[Annotated[Text, AfterValidator(_directive)], ...] = ()
    setup: tuple[Text, ...] = ()
    python: Text | None = None
    interface: Word | None = None
    scratch: Folder | None = None
    logs: Folder = ".rulescope/logs"
    tls: StrictBool = True

    @property
    def workers_per_job(self) -> int:
        """Worker processes of one job."""
        return self.gpus * self.workers_per_gpu or self.cores

    @property
    def seconds(self) -> int:
        """The walltime."""
        days, hours, minutes, seconds = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", self.walltime).groups()  # type: ignore[union-attr]
        return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)

    @property
    def how_many(self) -> str:
        """The jobs."""
        return "`jobs` of its [cluster] table says how many"

    @property
    def missing(self) -> str:
        """Slurm's own word, and the jobs'."""
        logs = os.path.abspath(self.logs)
        return f"`squeue --me` says what their jobs wait for, and what jobs that failed had to say is in {logs}"

    def device(self, asked: str, say: Say) -> str:
        """A GPU, if jobs have some."""
        if asked == "cuda" and not self.gpus:
            raise RequestError(
                "device 'cuda' was asked for, but the [cluster] table asks Slurm for no GPUs: give it gpus = 1"
            )
        return asked if asked != "auto" else "cuda" if self.gpus else "cpu"

    def at_once(self, device: str) -> int:
        """A cohort for each worker of each job."""
        return self.jobs * self.workers_per_job

    def described(self, device: str) -> list[str]:
        """The jobs, and their script."""
        have = f"{self.gpus} GPUs" if self.gpus else f"{self.cores} cores"
        what = (
            f"cluster: up to {self.jobs} Slurm jobs of {self.workers_per_job} workers on {have}, {self.walltime} each"
        )
        slurm_cluster()
        return [what, job_script(self)]

    def open(self, device: str, most: int, say: Say, stack: ExitStack) -> Pool:
        """Submit jobs while there is work."""
        import dask
        from dask.distributed import Client
        from distributed.utils import get_ip

        refusals: list[str] = []
        jobs = min(self.jobs, -(-most // self.workers_per_job))
        logs = Path(os.path.abspath(self.logs))
        where = {"interface": self.interface} if self.interface else {"host": get_ip()}
        stack.enter_context(dask.config.set({"distributed.adaptive.interval": "5s"}))
        try:
            logs.mkdir(parents=True, exist_ok=True)
            if self.tls:
                keys = stack.enter_context(TemporaryDirectory(prefix=".keys-", dir=logs.parent))
            else:
                say("tls = false: whoever reaches this machine over the network can run code as you while this runs")
                keys = ""
            with process.uninterrupted():
                cluster = slurm_cluster()(
                    job_cls=_persistent_job(refusals),
                    interface=self.interface,
                    scheduler_options=self.scheduler() | where,
                    silence_logs=50,
                    security=_secured(Path(keys)) if self.tls else None,
                    **slurm_options(self, keys),
                )
                stack.enter_context(cluster)
                cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
                client = stack.enter_context(Client(cluster))
        except (OSError, ValueError, RuntimeError) as error:
            raise RequestError(f"the Slurm cluster cannot be started: {error}") from error

        def waiting(present: int) -> int:
            return max(0, len(cluster.worker_spec) - -(-present // self.workers_per_job))

        return Pool(client, jobs * self.workers_per_job, refusals, self.page(cluster), waiting)


def _secured(folder: Path) -> Security:
    """Keys made for this run, as files of a folder that the jobs see and nobody else can enter."""
    from dask.distributed import Security

    made = Security.temporary()
    for name, text in ((CERTIFICATE, made.tls_ca_file), (KEY, made.tls_worker_key)):
        (folder / name).write_text(text, encoding="ascii")
    certificate, key = str(folder / CERTIFICATE), str(folder / KEY)
    roles = {f"tls_{role}_cert": certificate for role in ("client", "scheduler", "worker")}
    roles |= {f"tls_{role}_key": key for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=certificate, **roles)


def slurm_options(site: Slurm, keys: str = "<keys>") -> dict[str, Any]:
    """What dask-jobqueue is told about each job; `keys`: their folder, if it takes some.

    Workers end by themselves some time before the walltime, not all at once, so that Slurm kills none of them at work. What they
    write for themselves is in a folder that nobody else can enter.
    """
    margin = min(300, site.seconds // 5)
    lifetime = ["--lifetime", f"{site.seconds - margin}s", "--lifetime-stagger", f"{margin // 2}s"]
    gres = [f"--gres=gpu:{site.gpus}"] if site.gpus else []
    folder = os.path.abspath(site.logs)
    try:
        check_folder(folder)  # with the working directory in it
    except ValueError as error:
        raise RequestError(f"the folder of the jobs' logs, {folder!r}, {error}") from error
    logs = [f'-{kind[0]} "{folder}/rulescope-%J.{kind}"' for kind in ("err", "out")]
    python = shlex.quote(site.python or sys.executable)
    scratch = f'"{site.scratch}"' if site.scratch else '"${TMPDIR:-/tmp}"'
    return {
        "queue": site.partition,
        "account": site.account,
        "walltime": site.walltime,
        "cores": site.workers_per_job,
        "processes": site.workers_per_job,
        "job_cpu": site.cores,
        "memory": site.memory,
        "job_name": "rulescope",
        "job_extra_directives": [*logs, *gres, *site.directives],
        "job_script_prologue": [
            *site.setup,
            *(_exports(keys) if site.tls else ()),
            f'eval "$({python} -P -m {process.__name__})"',
            f"scratch=$(mktemp -d -p {scratch} rulescope-XXXXXXXXXX) || exit 1",
            "trap 'rm -rf \"$scratch\"' EXIT",
        ],
        "worker_extra_args": [
            *lifetime,
            *("--preload", pinning.__name__, "--preload", quiet.__name__),
            *("--local-directory", '"$scratch"'),
            *("--no-dashboard", "--dashboard-address", NOWHERE),
        ],
        "python": python,
    }


def _exports(keys: str) -> list[str]:
    """Lines that name the keys to Dask. Its options would not take a folder with a space in it."""
    files = {"CA_FILE": CERTIFICATE, "WORKER__CERT": CERTIFICATE, "WORKER__KEY": KEY}
    return [
        f"export DASK_DISTRIBUTED__COMM__TLS__{name}={shlex.quote(f'{keys}/{file}')}" for name, file in files.items()
    ]


def job_script(site: Slurm) -> str:
    """What would be submitted for each job."""
    from dask_jobqueue.slurm import SLURMJob

    job = SLURMJob(scheduler="<scheduler>", name="<worker>", interface=site.interface, **slurm_options(site))
    return str(job.job_script())


def _persistent_job(refusals: list[str]) -> Any:
    """dask-jobqueue's job, which is submitted again if Slurm refuses it; what it last said is added to a list."""
    from dask_jobqueue.slurm import SLURMJob
    from distributed.core import Status

    class Job(SLURMJob):
        def __init__(self, *args: Any, security: object = None, **options: Any) -> None:
            super().__init__(*args, **options)  # without options for keys, of which it is told by `_exports`

        async def _submit_job(self, script_filename: str) -> Any:
            for seconds in REFUSED:
                with suppress(RuntimeError):
                    return await super()._submit_job(script_filename)
                await asyncio.sleep(seconds)
            try:
                return await super()._submit_job(script_filename)
            except RuntimeError as error:
                refusals.append(f"Slurm takes no job: {_said(str(error))}")
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

    handler = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise RequestError("a Slurm cluster needs dask-jobqueue: pip install dask-jobqueue") from error
    finally:
        if (
            threading.current_thread() is threading.main_thread()
        ):  # that package ends the process at Ctrl-C, as if all was well
            signal.signal(signal.SIGINT, handler)
    if shutil.which("sbatch") is None:
        raise RequestError("there is no sbatch on this machine: run this where Slurm jobs can be submitted")
    return SLURMCluster
