"""A process that trains: one thread, and memory that stays."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from generator import process


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's mallopt")
def test_freed_memory_is_used_again_instead_of_asked_for_anew() -> None:
    pages = 4 * (1 << 20) // resource.getpagesize()
    with process.for_training():
        x = torch.ones(1 << 20)
        for _ in range(3):
            x = x + 1
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            x = x + 1
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 2 * pages  # and not 20
