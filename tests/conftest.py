"""Shared by all tests: the command line, and one thread, as in workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch

import rulescope
from generator.cores import cores

torch.set_num_threads(1)  # several threads in several processes on few cores are slower by far
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background job, and all it starts, would ignore Ctrl-C


@pytest.fixture
def registries() -> Iterator[None]:
    """Leaves the registries of this process as they were, whatever plugins add."""
    from classifier.models.estimators import MODELS
    from generator import architectures, observables, plugins, rules
    from generator.curricula.tasks import TASKS

    kept: list[dict[Any, Any]] = [rules.PATHWAYS, rules.UPDATES, rules.ALIASES, observables.OBSERVABLES, TASKS, MODELS]
    kept += [architectures.ARCHITECTURES, architectures.PARAMETRISED, plugins._RUN, plugins._ADDED]
    before = [dict(one) for one in kept]
    yield
    for one, was in zip(kept, before, strict=True):
        one.clear()
        one.update(was)


QUEUE = ("test_slurm.py", "test_chaos.py")  # these use the one Slurm queue, so they take turns
PAGES = "pages.py"
PLUMBING = (  # datasets and the making of them: what they hold is checked elsewhere
    *(
        "test_chaos.py",
        "test_compact.py",
        "test_dataset.py",
        "test_folders.py",
        "test_foreign_files.py",
        "test_generate.py",
        "test_hub.py",
    ),
    *("test_merge_and_rerun.py", "test_recording_files.py", "test_site.py", "test_slurm.py", "test_status.py"),
    *("test_strangers.py", "test_verify.py", "test_written_recordings.py"),
)
LONG = (
    *QUEUE,
    "test_split_oracle.py",
    "test_cluster.py",
    "test_on_a_cluster.py",
    "test_power.py",
    "test_command_line.py",
    "test_fuzz.py",
    "test_inflight.py",
    "test_shown.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Shapes and types are checked while a test of the generator runs, and its fixtures are made, unless it is marked.

    Other tests use the generator at length, whose own tests have checked it.
    """
    elsewhere = item.path.parent.name != "generator" or item.path.name in PLUMBING
    unchecked = elsewhere or item.get_closest_marker("unchecked") is not None
    jaxtyping.config.update("jaxtyping_disable", unchecked)
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: some tests wait most of their time."""
    return cores() + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several processes, each file is tested by one of them, and each page of the docs."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            if file.endswith(PAGES):
                return str(nodeid)
            return "queue" if file.endswith(QUEUE) else file

    return ByFile(config, log)


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `rulescope …` in an empty folder. It is this process that runs it: another one would import torch anew."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["rulescope", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            rulescope.main()
        return subprocess.CompletedProcess(sys.argv, end.value.code, *capfd.readouterr())  # type: ignore[arg-type]

    return run
