"""A Dask preload that gives each worker of a machine one of its GPUs, before anything in it has started CUDA.

`dask worker --preload generator.clusters.pinning` with CUDA_VISIBLE_DEVICES=0,1,2,3 and --nworkers 8 puts two workers on each.
"""

from __future__ import annotations

import os
import re
from typing import Any

VISIBLE = "CUDA_VISIBLE_DEVICES"


def pinned(worker: object, visible: str) -> str:
    """The one of the visible devices that a worker gets: they take turns by the number that its name ends with."""
    devices = [device.strip() for device in visible.split(",") if device.strip()]
    number = re.search(r"(\d+)$", str(worker))
    return devices[int(number[1]) % len(devices)] if number and devices else visible


def dask_setup(worker: Any) -> None:
    """Called by Dask in the worker's process, before its first task. Without visible devices nothing is done."""
    if os.environ.get(VISIBLE):
        os.environ[VISIBLE] = pinned(worker.name, os.environ[VISIBLE])
