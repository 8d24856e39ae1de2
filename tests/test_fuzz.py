"""Half a minute of files made at random (`fuzz.py`), each time others: none crashes, hangs or writes outside its folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_whatever_a_stranger_writes_is_read_or_refused_in_words() -> None:
    command = [sys.executable, str(Path(__file__).parent / "fuzz.py"), "--seconds", "30"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert found.returncode == 0, found.stdout + found.stderr
