"""Data that comes with a library: found without importing it, which would cost every worker a second or more."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def installed(package: str) -> Path:
    """The folder of an installed package."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed")
    return Path(found.origin).parent
