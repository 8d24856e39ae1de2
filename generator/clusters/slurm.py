"""`slurm`: jobs of a Slurm queue, through dask-jobqueue."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from generator.clusters import pinning, process
from generator.clusters.contract import Pool, Say, Site, Text
from generator.errors import RequestError
from generator.toml import PositiveInt

REFUSED = (5.0, 20.0)  # seconds after which a job that Slurm refused is submitted again


class Slurm(Site):
    """Jobs of a Slurm queue, submitted while there is work and taken back when there is none.

    Args:
        jobs: at a time, at most.
        partition, account, walltime: as `sbatch` takes them.
        cores: CPU cores of a job; without GPUs as many workers.
        gpus: of a job; each gets `workers_per_gpu` workers.
        memory: of a job; workers share it evenly.
        directives: further options of `sbatch`, such as "--constraint=a100".
        setup: lines of shell before the workers start, such as "module load python".
        python: on the nodes; by default the one that runs this.
        interface: the network interface between nodes and this machine, such as "ib0".
        scratch: a folder local to the nodes, for workers' temporary files; by default the system's.
        logs: a folder for the jobs' output; by default `logs` in the working directory's `.rulescope`.
        tls: encrypt what driver and workers say to each other, with keys made for this run, and let nobody else in.
    """

    kind: Literal["slurm"] = "slurm"
    jobs: PositiveInt = 1
    partition: Text | None = None
    account: Text | None = None
    walltime: Annotated[StrictStr, Field(pattern=r"^(\d+-)?\d{1,3}:\d\d:\d\d$")] = "24:00:00"
    cores: PositiveInt = 1
    gpus: Annotated[StrictInt, Field(ge=0)] = 0
    workers_per_gpu: PositiveInt = 1
    memory: Annotated[StrictStr, Field(pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$")] = "8 GiB"
    directives: tuple[Text, ...] = ()
    setup: tuple[Text, ...] = ()
    python: Text | None = None
    interface: Text | None = None
    scratch: Text | None = None
    logs: Text = ".rulescope/logs"
    tls: StrictBool = False

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

    def open(self, device: str, most: int, stack: ExitStack) -> Pool:
        """Submit jobs while there is work."""
        import dask
        from dask.distributed import Client, Security

        refusals: list[str] = []
        jobs = min(self.jobs, -(-most // self.workers_per_job))
        security, shared = None, str(Path(self.logs).absolute().parent)
        if self.tls:
            security = Security.temporary()
            os.makedirs(shared, exist_ok=True)
        stack.enter_context(dask.config.set({"distributed.adaptive.interval": "5s"}))
        try:
            with process.uninterrupted():
                cluster = slurm_cluster()(
                    job_cls=_persistent_job(refusals),
                    interface=self.interface,
                    scheduler_options={"dashboard_address": ":0"},
                    silence_logs=50,
                    security=security,
                    shared_temp_directory=shared,
                    **slurm_options(self),
                )
                stack.enter_context(cluster)
                cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
                client = stack.enter_context(Client(cluster))
        except (OSError, ValueError, RuntimeError) as error:
            raise RequestError(f"the Slurm cluster cannot be started: {error}") from error
        return Pool(client, lambda: jobs * self.workers_per_job, refusals)


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

    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise RequestError("a Slurm cluster needs dask-jobqueue: pip install 'rulescope[cluster]'") from error
    if shutil.which("sbatch") is None:
        raise RequestError("there is no sbatch on this machine: run this where Slurm jobs can be submitted")
    return SLURMCluster
