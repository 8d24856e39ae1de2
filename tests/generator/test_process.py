"""A process that trains: one thread, and memory that stays."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from generator import cores as counting
from generator.clusters import process
from generator.clusters.local import Local


def test_training_has_one_thread_and_others_get_theirs_back() -> None:
    torch.set_num_threads(2)
    try:
        with process.for_training():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_workers_start_with_one_thread_per_library() -> None:
    environment = process.environment()
    assert {environment[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"1"}


V1 = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000", "cpu/a/cpu.cfs_quota_us": "300000"}


@pytest.mark.parametrize(
    ("mine", "files", "found"),
    [
        ("0::/a/b", {"cpu.max": "max 100000", "a/cpu.max": "150000 100000", "a/b/cpu.max": "900000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/../elsewhere", {"cpu.max": "max 100000"}, 8),
        ("4:memory:/a\n3:cpu,cpuacct:/a/b\n0::/", V1 | {"cpu/a/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpuset:/a\n3:cpuacct,cpu:/of the host", V1, 8),
        (None, {}, 8),
    ],
)
def test_cores_are_those_that_there_is_time_for(
    mine: str | None, files: dict[str, str], found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of version 2 and 1 of control groups; the quotas above a group count, too."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(counting, "GROUPS", tmp_path)
    monkeypatch.setattr(counting, "MINE", tmp_path / "cgroup")
    for name, content in {**files, **({"cgroup": mine} if mine else {})}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert Local().count() == counting.cores() == found


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_cores_are_those_that_the_process_is_bound_to() -> None:
    """As `taskset -c 0` does it. No other file counts cores, nor leaves it to Python's pools, which count all."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert counting.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    sources = [path for folder in ("generator", "classifier") for path in (ROOT / folder).rglob("*.py")]
    counts = re.compile(r"cpu_count|getaffinity|PoolExecutor\(\)|PoolExecutor\(\w+=")
    count = [path.name for path in sources if counts.search(path.read_text())]
    assert count == ["cores.py"]


ROOT = Path(process.__file__).parents[2]
CHURN = """
import resource, torch
from contextlib import nullcontext
from generator.clusters import process
torch.set_num_threads(1)
with {setup}:
    x = torch.ones(1 << 18)
    for turn in range(40):
        if turn == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        y = x
        for _ in range(5):
            y = torch.relu(y) + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's mallopt")
def test_freed_memory_is_used_again_instead_of_asked_for_anew() -> None:
    # glibc's defaults, which it would otherwise raise by itself as soon as the heap happens to lie well
    defaults = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    faults = {}
    for setup in ("nullcontext()", "process.for_training()"):
        run = [sys.executable, "-c", CHURN.format(setup=setup)]
        faults[setup] = int(subprocess.run(run, capture_output=True, text=True, check=True, env=defaults).stdout)
    assert faults["process.for_training()"] < 1000
    assert faults["nullcontext()"] > 5 * faults["process.for_training()"]  # as glibc does by itself
