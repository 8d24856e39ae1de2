"""Shared by all tests: the command line as a real process, and one thread, as in workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # several threads in several processes on few cores are slower by far
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background job, and all it starts, would ignore Ctrl-C


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `rulescope …` as a process of its own, in an empty folder."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rulescope", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
