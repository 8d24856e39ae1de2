"""A Dask preload that closes the pages of a scheduler or a worker, which anybody on its machine could look at.

Dask serves some however it is configured. With this no port is open but the one that takes tasks.
"""

from __future__ import annotations

from typing import Any


def dask_setup(server: Any) -> None:
    """Called by Dask in the server's process, as it starts."""
    server.http_server.stop()
