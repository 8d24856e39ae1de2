"""A folder in storage: files published, read, listed and removed there. The only file that touches storage.

Everything goes through a pyarrow filesystem and uses no operation that an object store lacks. Imports neither torch nor the rest
of the generator's machinery, so the classifier reads datasets and models through it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pyarrow as pa
from pyarrow import fs as pafs

from generator.dataset.schema import DatasetError
from generator.reach import within

PATIENCE = 10.0  # seconds for the first word of another machine's storage, which by itself would be asked for minutes


def _reached(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a URI, which has answered, and the path in it."""
    found, root = pafs.FileSystem.from_uri(uri)
    found.get_file_info(root)
    return found, root


class Folder:
    """Files at a path or a filesystem URI: of a dataset, or of a model. Opening it creates nothing."""

    what: ClassVar[str] = "a folder"

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = text = os.fspath(location)
        if not text or "\0" in text:
            raise DatasetError(f"{text!r} names no place for {self.what}")
        if "://" in text:
            try:
                self.fs, root = within(PATIENCE, partial(_reached, text))
            except (ValueError, OSError, pa.ArrowException) as error:  # which have pages to say
                why = next(iter(str(error).splitlines()), "")
                raise DatasetError(f"{text} is no place for {self.what}, or cannot be reached: {why}") from error
        else:
            self.fs, root = pafs.LocalFileSystem(), os.path.abspath(text)
            self.location = root  # which stays where it is, whatever the working directory
            try:
                root.encode()
            except UnicodeEncodeError as error:
                raise DatasetError(
                    f"{root!a} is no place for {self.what}: its name is not UTF-8 (or the locale is not: set PYTHONUTF8=1)"
                ) from error
        self.root = self.top = PurePosixPath(root)

    def __fspath__(self) -> str:
        """The path or URI that it was opened at, options of the filesystem included, so that it can be opened again."""
        return self.location

    def __str__(self) -> str:
        return str(self.root) if isinstance(self.fs, pafs.LocalFileSystem) else f"{self.fs.type_name}://{self.root}"

    @classmethod
    def of(cls, location: str | os.PathLike[str] | Folder) -> Folder:
        """The folder at a place, or the one that is given."""
        return location if isinstance(location, Folder) else cls(location)

    def inside(self, name: str) -> Folder:
        """A folder in this one, on the same filesystem."""
        found = copy(self)
        found.root = self.root / name
        path, mark, options = self.location.partition("?" if "://" in self.location else "\0")
        found.location = f"{path.rstrip('/')}/{name}{mark}{options}"
        return found

    # -- files ---------------------------------------------------------------------------------------------------------
    def _path(self, name: str, reached: bool = True) -> str:
        """The path of a file in this folder, whoever made up its name.

        Args:
            reached: whether the file itself is opened, or a folder listed; else only the folder that the file is in.

        Raises:
            DatasetError: it is not in the folder, by its name or by a link on the way.
        """
        path = self.root / name
        parts = path.relative_to(self.root).parts if path.is_relative_to(self.root) else ("..",)
        if ".." in parts or "\0" in name:
            raise DatasetError(f"{name!r} is no name of a file in {self}: it leads elsewhere")
        if isinstance(self.fs, pafs.LocalFileSystem):
            goal, top = os.path.realpath(path if reached else path.parent), os.path.realpath(self.top)
            if os.path.commonpath([goal, top]) != top:
                raise DatasetError(f"{path} is a link that leads out of {self.top}, and is not followed")
        return str(path)

    def exists(self, name: str) -> bool:
        """Whether the file `name`, relative to the dataset, is there."""
        return self.stamp(name) is not None

    def open(self, name: str) -> pa.NativeFile:
        """One file, to read here and there. Raises DatasetError if it is none, or cannot be read."""
        path = self._path(name)
        with reaching(path):
            here = isinstance(self.fs, pafs.LocalFileSystem)  # where a pipe would keep its reader waiting
            if here and self.fs.get_file_info(path).type in (pafs.FileType.Directory, pafs.FileType.Unknown):
                raise DatasetError(f"cannot read {path}: it is not a file")
            return self.fs.open_input_file(path)

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises DatasetError as `open` does."""
        with reaching(self._path(name)), self.open(name) as file:
            return file.read()

    def read_json(self, name: str) -> dict[str, Any]:
        """The object in one JSON file; empty if it is not there, or damaged."""
        try:
            return dict(json.loads(self.read(name)))
        except (ValueError, TypeError, RecursionError):
            return {}

    def stamp(self, name: str) -> tuple[int, int] | None:
        """When a file was written last (ns), and its size in bytes; None if there is none."""
        info = self._info(self._path(name), pafs.FileType.File)
        return (info.mtime_ns, info.size) if info else None

    def _info(self, path: str, kind: pafs.FileType) -> pafs.FileInfo | None:
        """About what is at a path, if it is of this kind."""
        with reaching(path):
            info = self.fs.get_file_info(path)
        return info if info.type == kind else None

    def publish(self, name: str, content: bytes) -> None:
        """Make `content` appear at `name`, whole or not at all: staged, fsynced and renamed locally, one put elsewhere."""
        self._put(name, content, os.replace)

    def create(self, name: str, content: bytes) -> bool:
        """The same, unless there is a file already: whether it was made. On an object store two may make it at once."""
        if self.exists(name):
            return False
        try:
            self._put(name, content, _link)
        except FileExistsError:
            return False
        return True

    def _put(self, name: str, content: bytes, move: Callable[[str, str], None]) -> None:
        path = self._path(name, reached=False)
        try:
            if not isinstance(self.fs, pafs.LocalFileSystem):
                with self.fs.open_output_stream(path) as stream:
                    stream.write(content)
                return
            with suppress(FileExistsError):  # no folder: what is written next says so
                os.makedirs(os.path.dirname(path), exist_ok=True)
            staged = f"{os.path.dirname(path)}/.{os.path.basename(path)}.{uuid.uuid4().hex}.staged"
            try:
                with open(staged, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                move(staged, path)
            finally:
                if os.path.exists(staged):
                    os.remove(staged)
        except FileExistsError:
            raise
        except OSError as error:
            raise DatasetError(f"cannot write {path}: {error.strerror or error}") from error

    def remove(self, name: str) -> None:
        """Remove one file, if it is there."""
        path = self._path(name, reached=False)
        with reaching(path, "remove"), suppress(FileNotFoundError):
            self.fs.delete_file(path)

    def files(self, folder: str, recursive: bool = False) -> list[pafs.FileInfo]:
        """The files in a folder of this one; none if there is no such folder."""
        path = self._path(folder)
        with reaching(path):
            found = self.fs.get_file_info(pafs.FileSelector(path, allow_not_found=True, recursive=recursive))
        return [info for info in found if info.type == pafs.FileType.File]

    def name(self, info: pafs.FileInfo) -> str:
        """The name, in this folder, of a file that `files` found."""
        return str(PurePosixPath(info.path).relative_to(self.root))

    def occupied(self) -> bool:
        """Whether something is there: files or folders in it, or a file in its place."""
        if self._info(str(self.root), pafs.FileType.File):
            return True
        with reaching(str(self.root)):
            return bool(self.fs.get_file_info(pafs.FileSelector(str(self.root), allow_not_found=True)))

    def check_writable(self, name: str) -> None:
        """Refuse before any work what could not be published after it. Leaves nothing. Raises DatasetError."""
        if isinstance(self.fs, pafs.LocalFileSystem):
            check_writable(self.root / name, made=True)
        else:  # of another machine's storage only writing tells
            probe = str(PurePosixPath(name).with_name(".writable"))
            self.publish(probe, b"")
            self.remove(probe)


def check_writable(file: str | os.PathLike[str], made: bool = False) -> None:
    """Refuse before any work what could not be written after it, to this machine's disks. Raises DatasetError.

    Args:
        made: whether the folders on the way to it are made when it is written; else its own has to be there.
    """
    target = Path(os.path.abspath(file))
    place = next(one for one in target.parents if os.path.lexists(one)) if made else target.parent
    if target.is_dir():
        raise DatasetError(f"cannot write {os.fspath(file)}: it is a directory")
    if not place.is_dir() or not os.access(place if made or not target.exists() else target, os.W_OK):
        raise DatasetError(f"cannot write {os.fspath(file)}: {place} is not a directory that may be written to")


def _link(staged: str, path: str) -> None:
    """Give a file a second name, unless that is taken; where no file has two, copy it."""
    try:
        os.link(staged, path)
    except FileExistsError:
        raise
    except OSError:
        with open(staged, "rb") as source, open(path, "xb") as target:
            target.write(source.read())


@contextmanager
def reaching(path: str, act: str = "read") -> Iterator[None]:
    """Raise DatasetError where the storage says that something cannot be had."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"cannot {act} {path}: {os.strerror(error.errno) if error.errno else error}") from error
