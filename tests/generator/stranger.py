"""What somebody else on this machine finds at a run's ports: `python stranger.py HOST:PORT …` prints each success, a line each.

As root it becomes nobody first.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

NOBODY = 65534
SECONDS = 5.0
PAGES = (
    "",
    "status",
    "health",
    "metrics",
    "sitemap.json",
    "json/identity.json",
    "info/main/workers.html",
    "statics/css/base.css",
)


def ports(pids: Iterable[int]) -> set[str]:
    """Where processes and what they started listen, as HOST:PORT."""
    found: set[str] = set()
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            listening = [c.laddr for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            found.update(f"{address.ip}:{address.port}" for address in listening)
    return found


def successes(places: Iterable[str]) -> list[str]:
    """What a stranger brings about there."""
    told = subprocess.run([sys.executable, __file__, *places], capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()


async def _asks(place: str, protocol: str, security: Any) -> str:
    """A server of Dask for its name: who gets an answer may have it run anything."""
    from distributed.core import rpc

    async with rpc(f"{protocol}://{place}", connection_args=security.get_connection_args("client")) as server:
        return f"{place} answers over {protocol}: {sorted(await server.identity())}"


async def _looks(place: str) -> str:
    """For a page."""
    host, port = place.rsplit(":", 1)
    for page in PAGES:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /{page} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(1 << 16)
        writer.close()
        if b" 200 " in answer.split(b"\r\n")[0]:
            return f"{place} shows /{page}"
    raise OSError


async def _tries(places: list[str]) -> list[str]:
    from distributed import Security

    own, none = Security.temporary(), Security(require_encryption=False)
    attempts = [
        attempt for place in places for attempt in (_asks(place, "tcp", none), _asks(place, "tls", own), _looks(place))
    ]
    found = await asyncio.gather(*(asyncio.wait_for(one, SECONDS) for one in attempts), return_exceptions=True)
    return [one for one in found if isinstance(one, str)]


if __name__ == "__main__":
    import distributed.core  # before the folder it lies in is out of reach

    if os.getuid() == 0:
        os.chdir("/")
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    assert Path(distributed.core.__file__).name == "core.py"
    print(*asyncio.run(_tries(sys.argv[1:])), sep="\n", end="")
