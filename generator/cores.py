"""How many cores this process may use: what every number of threads or processes follows."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # the first is PyTorch's and Arrow's, too
GROUPS, MINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores() -> int:
    """As many as its affinity names, or, if that is less, as its control groups give time for, a part of one counted whole."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(found, _quota())))


def heed() -> None:
    """Let numerical libraries that are loaded from now on start no more threads than that, unless they are told how many.

    By themselves they look at the affinity alone: where a control group gives a container two cores of 64, each starts 64.
    """
    for name in VARIABLES:
        os.environ.setdefault(name, str(cores()))


def _quota() -> float:
    """Seconds of computing per second that the control groups of this process, of version 1 or 2, allow; infinite without."""
    allowed = [math.inf]
    with suppress(OSError):
        for line in MINE.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, kinds, own = line.split(":", 2)
            if kinds and "cpu" not in kinds.split(","):
                continue
            top = GROUPS / "cpu" if kinds else GROUPS
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if kinds else ("cpu.max",)
            way = top / own.lstrip("/")  # what a container sees of it may be its top alone
            for group in (way, *way.parents):
                with suppress(OSError, ValueError):  # there is none, or its quota is "max"
                    text = " ".join((group / file).read_text(encoding="ascii") for file in files)
                    quota, period = map(float, text.split())
                    if quota > 0:
                        allowed.append(quota / period)
    return min(allowed)
