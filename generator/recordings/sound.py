"""Whether an NWB file may be opened: it is whole, of a version that is known, and leads to no other file."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from generator.errors import RequestError

NO_CACHE = "PYNWB_NO_CACHE_DIR"  # pynwb would otherwise unpickle its schema from a folder of the user's


def pynwb() -> ModuleType:
    """The library. Raises RequestError if it is not installed."""
    os.environ.setdefault(NO_CACHE, "1")
    try:
        import pynwb as found
    except ImportError as error:
        raise RequestError("NWB files need pynwb: pip install 'rulescope[nwb]'") from error
    return found


def sound(path: Path) -> str | None:
    """A note if a file is of a newer version than pynwb knows, but may be read.

    Raises:
        RequestError: a file that is cut off, no NWB, of a version whose files are others, or that leads to another file.
    """
    pynwb()
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _stay(file, path)
            version = file.attrs.get("nwb_version")
    except RequestError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise RequestError(f"{path.name} is no NWB file that can be read, or is cut off: {error}") from error
    if version is None:
        raise RequestError(f"{path.name} is no NWB file: it does not say of which version (nwb_version)")
    return _known(version.decode() if isinstance(version, bytes) else str(version), path)


def _known(version: str, path: Path) -> str | None:
    latest = str(pynwb().get_type_map().namespace_catalog.get_namespace("core").version)
    theirs, ours = _parts(version), _parts(latest)
    if theirs[:1] != ours[:1]:
        hint = ": pip install --upgrade pynwb" if theirs > ours else ""
        raise RequestError(f"{path.name} is of NWB {version}, and the installed pynwb reads up to {latest}{hint}")
    if theirs[:2] > ours[:2]:
        return f"{path.name} is of NWB {version}, newer than {latest}, the newest that the installed pynwb knows"
    return None


def _parts(version: str) -> list[int]:
    """Its numbers, up to a part that is none."""
    found = []
    for part in version.removeprefix("NWB-").split("-")[0].split("."):
        if not part.isdecimal():
            break
        found.append(int(part))
    return found


def _stay(file: Any, path: Path) -> None:
    """Raises RequestError for a link to another file, or data that lie in one. Links within the file are not followed."""
    import h5py

    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        for name in group:
            kind = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if isinstance(kind, h5py.ExternalLink):
                raise RequestError(
                    f"{path.name} leads to another file at {where}, which is not followed: {kind.filename}"
                )
            if not isinstance(kind, h5py.HardLink):
                continue
            one = group[name]
            if isinstance(one, h5py.Group) and one.id not in seen:
                seen.add(one.id)
                waiting.append(one)
            if isinstance(one, h5py.Dataset) and (one.external or _virtual(one)):
                raise RequestError(f"{path.name} keeps its data {where} in another file, which is not followed")


def _virtual(data: Any) -> bool:
    """Whether it is put together of other files' data."""
    return data.is_virtual and any(source.file_name != "." for source in data.virtual_sources())
