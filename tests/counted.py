"""A folder as an object store: no renaming, files appear whole, every request is counted, and it may fail at any of them."""

from __future__ import annotations

import io
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import fs

from generator.dataset import folder


class Killed(BaseException):
    """What a process says at the moment of its death, and what it asks for afterwards."""


class Counted(fs.FileSystemHandler):
    """A folder of this machine.

    Attributes:
        requests: how many of each kind, as S3 counts them: HEAD (is it there?), LIST, GET, PUT, DELETE.
        deadline: changes (PUT, DELETE) after which whoever asks is dead; None: never.
        failing: the number of the one request that the store does not answer; None: none.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.local = root, fs.LocalFileSystem()
        self.requests: Counter[str] = Counter()
        self.deadline: int | None = None
        self.failing: int | None = None
        self.lock = threading.Lock()

    def ask(self, kind: str) -> None:
        with self.lock:
            changes = self.requests["PUT"] + self.requests["DELETE"]
            if self.deadline is not None and changes >= self.deadline and kind in ("PUT", "DELETE"):
                raise Killed
            self.requests[kind] += 1
            if self.requests.total() == self.failing:
                raise OSError(5, "Input/output error")

    def get_type_name(self) -> str:
        return "counted"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        for _ in paths:
            self.ask("HEAD")
        return list(self.local.get_file_info(paths))

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        self.ask("LIST")
        found = list(self.local.get_file_info(selector))
        for _ in range(len(found) // 1000):  # so many a request names
            self.ask("LIST")
        return found

    def open_input_file(self, path: str) -> pa.NativeFile:
        self.ask("HEAD")
        if not Path(path).is_file():
            raise FileNotFoundError(2, "No such file or directory", path)
        return pa.PythonFile(_Read(self, Path(path).read_bytes()), mode="r")

    open_input_stream = open_input_file

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return pa.PythonFile(_Written(self, Path(path)), mode="w")

    def delete_file(self, path: str) -> None:
        self.ask("DELETE")
        Path(path).unlink()

    def _never(self, *_: Any) -> Any:
        raise NotImplementedError("an object store has no such operation")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _never
    move = copy_file = open_append_stream = _never


class _Read(io.BytesIO):
    """A file whose every reading is a request."""

    def __init__(self, store: Counted, content: bytes) -> None:
        super().__init__(content)
        self.store = store

    def read(self, size: int | None = -1, /) -> bytes:
        self.store.ask("GET")
        return super().read(size)


class _Written(io.BytesIO):
    """A file that appears when it is closed."""

    def __init__(self, store: Counted, path: Path) -> None:
        super().__init__()
        self.store, self.path = store, path

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self.store.ask("PUT")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(content)


def counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Counted]:
    """An address of a folder, under which a dataset is opened in the store, and the store."""
    store, real = Counted(root), folder._reached

    def reached(uri: str) -> tuple[fs.FileSystem, str]:
        scheme, _, path = uri.partition("://")
        return (fs.PyFileSystem(store), path) if scheme == "counted" else real(uri)

    monkeypatch.setattr(folder, "_reached", reached)
    return f"counted://{root}", store
