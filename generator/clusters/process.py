"""How a process that trains is set up: one thread per library, memory that stays with it, numpy's faster sort.

`eval "$(python -P -m generator.clusters.process)"` sets up a shell whose workers are started by hand.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

from generator.cores import VARIABLES

# set, Python imports nothing from the working directory, where anybody's socket.py may lie
SAFE_PATH = "PYTHONSAFEPATH"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt(3)


@contextmanager
def for_training() -> Iterator[None]:
    """One thread for every numerical library, so that sums are taken in one order wherever a cohort runs.

    Workers side by side beat threads: the arrays of a step are small.
    """
    import threadpoolctl
    import torch

    _keep_memory()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32 means float32
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C, which a terminal sends to all processes of a run, waits until this is left.

    Threads and processes that start inside never see it. Nor do libraries that are being imported: written in C++, some of
    them would take the whole process down.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    with unchanged(SAFE_PATH):
        os.environ[SAFE_PATH] = "1"
        resource_tracker.ensure_running()  # which would let it through when the first process starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def unchanged(*names: str) -> Iterator[None]:
    """Environment variables are what they were when this is left."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _keep_memory() -> None:
    """Let freed memory stay with the process, for good, where the C library is glibc.

    By default every array above a size goes back to the system when freed, and the next one of its kind is handed over and
    zeroed page by page: elementwise operations on 1 MB arrays take ten times as long.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    if not mallopt(_MMAP_THRESHOLD, 2**31 - 1):
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most that glibc before 2.35 accepts
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def environment() -> dict[str, str]:
    """What has to be set before a worker's libraries are loaded."""
    threads = dict.fromkeys(VARIABLES, "1")
    # Dask runs a task in a thread of its own, whose own memory arena would be handed back whatever mallopt says.
    return threads | {"MALLOC_ARENA_MAX": "1", SAFE_PATH: "1"} | _faster_sort()


def _faster_sort() -> dict[str, str]:
    """numpy's AVX-512 sort is 3.5× slower than its AVX2 one on AMD's family 25 (Zen 4, whose compressed stores crawl)."""
    from numpy._core._multiarray_umath import __cpu_dispatch__

    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    features = [name for name in ("X86_V4", "AVX512_SKX") if name in __cpu_dispatch__]
    slow = "AuthenticAMD" in cpu and "cpu family\t: 25" in cpu and "avx512f" in cpu
    return {"NPY_DISABLE_CPU_FEATURES": features[0]} if slow and features else {}


def exports() -> str:
    """The same as lines of shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment().items())


if __name__ == "__main__":
    print(exports())
