"""Where cohorts run: what `--cluster` names, or a `[cluster]` table says, in a spec or in a site file of its own."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StrictBool, StrictInt, StrictStr, ValidationError

from generator import toml
from generator.errors import RequestError, unknown
from generator.toml import PositiveInt, Table

Text = Annotated[StrictStr, Field(min_length=1)]


class Local(Table):
    """Worker processes on this machine, with one thread each.

    Args:
        workers: how many; by default one per core, or per GPU; 0 is this process itself.
        workers_per_gpu: that share a GPU, where that is the device.
    """

    kind: Literal["local"] = "local"
    workers: Annotated[StrictInt, Field(ge=0)] | None = None
    workers_per_gpu: PositiveInt = 1


class Slurm(Table):
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


class Scheduler(Table):
    """A Dask scheduler that runs already, whatever started its workers; its security settings are Dask's own.

    Args:
        address: of it, such as tcp://node7:8786, or its scheduler file.
    """

    kind: Literal["scheduler"] = "scheduler"
    address: Text


Site: TypeAlias = Local | Slurm | Scheduler
KINDS: dict[str, type[Local] | type[Slurm] | type[Scheduler]] = {"local": Local, "slurm": Slurm, "scheduler": Scheduler}


def from_table(table: Mapping[str, Any], where: str = "[cluster]") -> Site:
    """The site that a `[cluster]` table describes. Raises RequestError for a key or a value that does not fit."""
    kind = table.get("kind", "local")
    if kind not in KINDS:
        raise unknown("kind of cluster", kind, KINDS, where)
    try:
        return KINDS[kind].model_validate(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        raise toml.sentence(first, KINDS[kind], f"{where} of kind {kind!r}", first["loc"]) from error


def read(path: str | os.PathLike[str]) -> Site:
    """The site of a file with a `[cluster]` table. Raises RequestError if it cannot be read, or says something else too."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(
            f"cannot read the site file {os.fspath(path)}: {getattr(error, 'strerror', None) or error}"
        ) from error
    if set(found) != {"cluster"} or not isinstance(found["cluster"], dict):
        raise RequestError(f"the site file {os.fspath(path)} must have one table, [cluster], and nothing else")
    return from_table(found["cluster"], f"[cluster] in {os.fspath(path)}")


def choose(asked: str | None, table: Mapping[str, Any] | None, workers: int | None = None) -> Site:
    """The site that a run takes.

    Args:
        asked: local, slurm, a scheduler's address or its file (.json), or a site file (.toml); None: as the table says.
        table: the spec's own `[cluster]`.
        workers: of a local site.

    Raises:
        RequestError: nothing answers to what was asked, or it does not go with `workers`.
    """
    own = from_table(table) if table is not None else None
    if asked is None:
        found = own or Local()
    elif asked in ("local", "slurm"):
        found = own if own is not None and own.kind == asked else KINDS[asked]()  # type: ignore[call-arg]
    elif "://" in asked:
        found = Scheduler(address=asked)
    elif asked.endswith(".json"):
        if not Path(asked).is_file():
            raise RequestError(
                f"there is no scheduler file {asked}: `dask scheduler --scheduler-file {asked}` writes it"
            )
        found = Scheduler(address=asked)
    elif asked.endswith(".toml"):
        found = read(asked)
    else:
        raise RequestError(
            f"no cluster answers to {asked!r}: it is local, slurm, a scheduler's address (tcp://host:port) or file (.json), "
            "or a site file (.toml)"
        )
    if workers is None:
        return found
    if workers < 0:
        raise RequestError(f"workers must be 0 (this process) or more, not {workers}")
    if not isinstance(found, Local):
        more = "`jobs` of its [cluster] table says how many" if isinstance(found, Slurm) else "it has its own"
        raise RequestError(f"--workers is for a local run; with a cluster of kind {found.kind!r}, {more}")
    return found.model_copy(update={"workers": workers})
