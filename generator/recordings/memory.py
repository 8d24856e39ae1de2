"""What fits into memory: files are asked how large they are before they are read."""

from __future__ import annotations

from generator.errors import RequestError

SHARE = 0.5  # of the memory that is free: what is read is copied


def available() -> int:
    """Bytes of memory that are free."""
    import psutil

    return int(psutil.virtual_memory().available)


def fits(size: int, what: str) -> None:
    """Raises RequestError if so many bytes are too many to read."""
    if size > SHARE * (free := available()):
        raise RequestError(
            f"{what} would take {size / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB of memory are free: give less at once, such as "
            "fewer units or trials"
        )
