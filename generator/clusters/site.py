"""Where cohorts run: what `--cluster` names, or a `[cluster]` table says, in a spec or in a site file of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from generator import toml
from generator.clusters.contract import Site
from generator.clusters.local import Local
from generator.clusters.scheduler import Scheduler
from generator.clusters.slurm import Slurm
from generator.errors import RequestError, unknown

KINDS: dict[str, type[Site]] = {"local": Local, "slurm": Slurm, "scheduler": Scheduler}


_BARE = [kind for kind, site in KINDS.items() if not any(f.is_required() for f in site.model_fields.values())]


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
        found = toml.loads(toml.read(path))
    except RequestError as error:
        raise RequestError(f"cannot read the site file {os.fspath(path)}: {error}") from error
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
    elif asked in _BARE:
        found = own if own is not None and own.kind == asked else KINDS[asked].model_validate({})
    elif "://" in asked:
        found = Scheduler(address=asked)
    elif asked.endswith(".json"):
        if not os.path.isfile(asked):
            raise RequestError(
                f"there is no scheduler file {asked}: `dask scheduler --scheduler-file {asked}` writes it"
            )
        found = Scheduler(address=asked)
    elif asked.endswith(".toml"):
        found = read(asked)
    else:
        raise RequestError(
            f"no cluster answers to {asked!r}: it is {', '.join(_BARE)}, a scheduler's address (tcp://host:port) or file "
            "(.json), or a site file (.toml)"
        )
    if workers is None:
        return found
    if workers < 0:
        raise RequestError(f"workers must be 0 (this process) or more, not {workers}")
    return found.sized(workers)
