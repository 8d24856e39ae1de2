"""What two datasets must have in common, however they were made."""

from __future__ import annotations

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Observables and snapshots, by name."""
    files = [path for kind in ("observables", "snapshots") for path in (folder / kind).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
