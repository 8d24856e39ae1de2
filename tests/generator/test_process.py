"""A process that trains: one thread, and memory that stays."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from generator.clusters import process


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
