"""The generator's side of `import rulescope as rs`: what the commands do, as functions with keyword-only options."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from generator import plugins
from generator.dataset.storage import Dataset
from generator.running import compact as compacting
from generator.running import generate as running
from generator.running import merge as merging
from generator.running import rerun as rerunning
from generator.running import status as looking
from generator.running import verify as judge
from generator.spec import planning
from generator.spec.spec import Spec, of

Place = str | os.PathLike[str]
AnySpec = Place | Mapping[str, Any] | Spec
Say = Callable[[str], None]


def plugin(path: Place) -> None:
    """Run a Python file of yours, which adds rules, observables, architectures, tasks or classifiers (generator/plugins.py).

    A spec names its own, so that this is for what a dataset was made with, and for classifiers.

    Raises:
        RequestError: it cannot be read, fails, or adds what cannot be added.

    Example:
        >>> rs.plugin("my_rule.py")
        >>> "half" in list(rs.names("rules")["name"])
        True
    """
    plugins.named(os.fspath(path))


def plan(spec: AnySpec) -> planning.Plan:
    """What a spec amounts to: networks, layers, examples, cohorts, estimated time and disk. Runs nothing.

    Args:
        spec: a file, a mapping like one, or a `Spec`.

    Raises:
        RequestError: the spec is not valid.

    Example:
        >>> rs.plan("datasets/demo.toml").networks > 0
        True
    """
    return planning.plan(of(spec))


def generate(
    spec: AnySpec,
    out: Place | None = None,
    *,
    workers: int | None = None,
    device: str = "auto",
    cluster: str | None = None,
    say: Say = lambda text: None,
) -> Dataset:
    """Make the dataset of a spec, or go on with it.

    Args:
        spec: a file, a dataset's folder, a mapping like one, or a `Spec`.
        out: where to; by default a folder of the spec's name beside its file, or, without a file, here; of a dataset where it is.
        workers: worker processes of this machine; 0 is this process; by default one per core, or per GPU, and none for a run of a
            moment.
        device: auto, cpu or cuda.
        cluster: local, slurm, a scheduler's address or file (.json), or a site file (.toml).
        say: told what else a person would like to know.

    Returns:
        The dataset. A warning says which cohorts could not be trained, and why.

    Raises:
        RequestError: the spec is not valid, or does not fit the dataset that is there already, its data is missing, another run
            is making the same dataset, or the workers cannot be had, or are lost.

    Example:
        >>> dataset = rs.generate("datasets/demo.toml")  # goes on with it, or does nothing if it is complete
    """
    parsed = spec if isinstance(spec, str | os.PathLike) else of(spec)
    place = parsed.name if out is None and isinstance(parsed, Spec) else out
    summary = running.generate(parsed, place, workers, device, cluster=cluster, say=say)
    for failure in summary.failures:
        warnings.warn(failure, stacklevel=2)
    return Dataset(summary.location)


def status(dataset: Place) -> looking.Status:
    """How far a dataset is, from its files alone. Raises RequestError if this is no dataset.

    Example:
        >>> found = rs.status("datasets/demo")
        >>> found.complete == found.cohorts
        True
    """
    return looking.status(_opened(dataset))


def verify(dataset: Place) -> list[str]:
    """Every problem of a dataset, a sentence each; none if all is well. Raises RequestError if this is no dataset.

    Example:
        >>> rs.verify("datasets/demo")
        []
    """
    return judge.problems(_opened(dataset))


def rerun(dataset: Place, network_id: str, *, out: Place | None = None, device: str = "auto") -> rerunning.Rerun:
    """Train one network of a dataset again, alone, and keep its raw tensors at every checkpoint.

    Args:
        network_id: its identity, or enough of the beginning of it.
        out: a folder; by default `<dataset>/reruns/<network_id>`.

    Raises:
        RequestError: no such dataset or network, or several networks whose identity begins so.

    Example:
        >>> network = rs.load("datasets/demo").identity["network_id"].iloc[0]
        >>> rs.rerun("datasets/demo", network).difference < 1e-4  # of its statistics, relative to their size
        True
    """
    return rerunning.rerun(os.fspath(dataset), network_id, out, device)


def merge(out: Place, *datasets: Place) -> Dataset:
    """Datasets that differ in their grids alone, as one. Raises RequestError if they differ in more.

    Example:
        >>> both = rs.merge("datasets/both", "datasets/demo", "datasets/demo")
    """
    return merging.merge(out, [os.fspath(each) for each in datasets])


def compact(dataset: Place) -> compacting.Compacted:
    """Put a dataset's many small files together in few large ones, which are read many times faster.

    Rows stay as they are, and whoever reads the dataset meanwhile finds each of them once.

    Raises:
        RequestError: no dataset there, a run is making it, or a file of it is damaged.

    Example:
        >>> found = rs.compact("datasets/demo")
        >>> found.after <= found.before  # files of observables
        True
    """
    return compacting.compact(_opened(dataset))


def _opened(dataset: Place) -> Dataset:
    return dataset if isinstance(dataset, Dataset) else Dataset(dataset)
