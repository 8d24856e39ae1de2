"""How long the evaluation of the demo takes as a person starts it, and each of its models alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from row import Row

MODELS = ("svm", "logistic", "forest", "xgboost", "conv")  # those that it fits unless told otherwise


class Run(NamedTuple):
    """Seconds that a process took, seconds of all cores together, and the most memory that it held, in MB."""

    seconds: float
    computing: float
    memory: float


def evaluation(device: str) -> Iterator[Row]:
    """Of the dataset of `make demo`, whole processes, three of each."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        _rulescope("generate", "demo", "--out", demo)
        for models, target in ((",".join(MODELS), "≤ 30"), *((name, "") for name in MODELS)):
            runs = [_rulescope("evaluate", demo, "--models", models) for _ in range(3)]
            seconds, computing, memory = (statistics.median(each) for each in zip(*runs, strict=True))
            yield Row(f"rulescope evaluate DEMO --models {models}", seconds, "s", target=target)
            yield Row("… of all cores' time", computing, "s")
            yield Row("… peak memory", memory, "MB")


def _rulescope(*arguments: Any) -> Run:
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "rulescope", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"rulescope {' '.join(map(str, arguments))} ended with status {status}")
    return Run(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
