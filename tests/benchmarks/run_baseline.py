"""The baselines as processes of their own, and whether they computed what the engine computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from generator.clusters import local, process


def run(
    kind: str,
    architecture: str,
    task: str,
    rule: str,
    networks: int,
    epochs: int,
    checkpoints: int,
    threads: int,
    save: Path,
    *flags: str,
) -> list[float]:
    """Seconds of each network, trained one at a time in a process of its own; importing and warming up not counted."""
    command = [sys.executable, str(Path(__file__).with_name("baseline.py")), kind, architecture, task, rule, *flags]
    numbers = {"networks": networks, "epochs": epochs, "checkpoints": checkpoints, "threads": threads, "save": save}
    for name, value in numbers.items():
        command += [f"--{name}", str(value)]
    # numpy's sort as fast as in the engine's workers; nothing else of their environment
    sort = {k: v for k, v in process.environment().items() if k.startswith("NPY")}
    threaded = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=threaded | sort)
    return json.loads(done.stdout)


def best_threads(architecture: str, task: str, scratch: Path) -> tuple[int, float]:
    """The thread count at which the plain baseline is fastest, and its gain over the slowest."""
    cores = local.cores()
    taken = {
        threads: min(run("plain", architecture, task, "sgdm", 2, 2, 3, threads, scratch))
        for threads in sorted({1, cores})
    }
    best = min(taken, key=lambda threads: taken[threads])
    return best, max(taken.values()) / taken[best]


def compare(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest over checkpoints of the median relative difference of (checkpoints, layers, 45) statistics.

    Raises RuntimeError if they are not the same numbers: the first checkpoint within 1e-3, the medians within 1e-2 (rounding
    grows as networks learn), undefined ones in the same places.
    """
    if (np.isnan(ours) != np.isnan(theirs)).mean() > 1e-3:
        raise RuntimeError("engine and baseline differ in what is undefined")
    size = np.nan_to_num(np.abs(ours))
    difference = np.nan_to_num(np.abs(ours - theirs)) / np.maximum(size, 1e-3 * size.max(axis=0) + 1e-12)
    first, medians = float(difference[0].max()), np.median(difference, axis=(1, 2))
    if first > 1e-3 or medians.max() > 1e-2:
        raise RuntimeError(f"engine and baseline differ: {first:.1e} at first, medians up to {medians.max():.1e}")
    return float(medians.max())
