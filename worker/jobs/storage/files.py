"""Uploaded files on disk, and resolution of a job's file references.

HOME/files/<file-id>/content      the bytes as received
HOME/files/<file-id>/meta.json    the metadata; written last, so its existence means that the file
                                  is complete

Names sort by age, so a page of the newest files reads only their metadata.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Self

from pydantic import BaseModel, ConfigDict

from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.events import Page
from worker.jobs.storage.filesystem import (
    SortableId,
    TooManyBytesError,
    sync_directory,
    translate_disk_full,
    write_chunks,
    write_whole,
)
from worker.jobs.storage.job_files import num_bytes_of, remove
from worker.jobs.storage.paths import Home, path_under

MAX_FILENAME_LENGTH = 255

FILE_IDS = SortableId("file-")
_ABANDONED_AFTER_SECONDS = 24 * 3600
_DELETED = "deleted.json"
_WITHHELD = "withheld.json"
"""Name of `meta.json` while a deletion checks if a job needs the file. It becomes `_DELETED` while
the file is removed."""

_log = logging.getLogger(__name__)


class StoredFile(BaseModel):
    """The content of `meta.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    filename: str
    """Name that the caller gave it; data, never part of a path."""
    purpose: str
    num_bytes: int
    created_at: float
    owner: str = ""
    """Name of the API key that uploaded it; empty on a server without keys."""

    def is_seen_by(self, owner: str | None) -> bool:
        """Returns True if the file exists for `owner`; None sees all files."""
        return owner is None or owner == self.owner


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to create, with a valid name."""

    id: str
    filename: str
    purpose: str
    owner: str = ""

    @classmethod
    def called(cls, filename: str, *, purpose: str, owner: str) -> Self:
        """Returns a file with a new id. Raises InvalidRequestError for an invalid name."""
        check_filename(filename, param="file")
        return cls(id=FILE_IDS.new(), filename=filename, purpose=purpose, owner=owner)


def check_filename(filename: str, *, param: str) -> None:
    """Raises InvalidRequestError if the name is too long."""
    if len(filename) > MAX_FILENAME_LENGTH:
        raise InvalidRequestError(
            f"the file name has {len(filename)} characters; the limit is {MAX_FILENAME_LENGTH}",
            param=param,
        )


class FileStore:
    """The files under HOME/files and, by relative path, those under the data root.

    For an `owner`, the files of other owners do not exist; None sees all.
    """

    def __init__(self, home: Home, data_root: Path | None) -> None:
        self._root = home.files
        self._data_root = data_root

    def write(self, new: NewFile, *, chunks: Iterable[bytes], max_bytes: int) -> StoredFile:
        """Writes `chunks` to disk; when this returns, the file survives a power cut.

        Raises InvalidRequestError for more than `max_bytes` bytes, StorageFullError, and the
        errors of `chunks`. Nothing of the file remains after an error.
        """
        directory = self._root / new.id
        with translate_disk_full("the file"):
            directory.mkdir(parents=True)
            try:
                num_bytes = write_chunks(directory / "content", chunks, max_bytes=max_bytes)
                stored = StoredFile(
                    id=new.id,
                    filename=new.filename,
                    purpose=new.purpose,
                    num_bytes=num_bytes,
                    created_at=time.time(),
                    owner=new.owner,
                )
                write_whole(directory / "meta.json", stored.model_dump_json(indent=2) + "\n")
            except BaseException as error:
                shutil.rmtree(directory)
                if isinstance(error, TooManyBytesError):
                    raise InvalidRequestError(
                        f"the file is larger than {max_bytes} bytes, the limit of this server",
                        param="file",
                    ) from error
                raise
        sync_directory(self._root)
        return stored

    def find(self, file_id: str) -> StoredFile | None:
        """As `get`, but returns None if there is no such file."""
        return self._read(file_id)

    def clear(self, file_id: str) -> None:
        """Removes the remains of a killed write. The caller must ensure that no process writes
        this file."""
        shutil.rmtree(self._root / file_id, ignore_errors=True)

    def get(self, file_id: str, *, owner: str | None = None) -> StoredFile:
        """Returns the metadata of a file. Raises NotFoundError."""
        if not FILE_IDS.matches(file_id):
            raise NotFoundError(f"no file {file_id!r}; a file id is 'file-' and 26 characters")
        stored = self._read(file_id)
        if stored is None or not stored.is_seen_by(owner):
            raise _no_file(file_id)
        return stored

    def list(
        self,
        wanted: Callable[[StoredFile], bool],
        *,
        after: str | None,
        limit: int,
        order: Literal["asc", "desc"] = "desc",
    ) -> Page[StoredFile]:
        """Returns a page of the `wanted` files by age, newest first unless `order` is "asc". The
        file `after` may have been deleted."""
        if after is not None and not FILE_IDS.matches(after):
            raise InvalidRequestError(f"{after!r} is not a file id", param="after")
        found: list[StoredFile] = []
        for stored in self.all(after=after, order=order):
            if not wanted(stored):
                continue
            if len(found) == limit:
                return Page(items=tuple(found), has_more=True)
            found.append(stored)
        return Page(items=tuple(found), has_more=False)

    def all(
        self, *, after: str | None = None, order: Literal["asc", "desc"] = "desc"
    ) -> Iterator[StoredFile]:
        """Yields every file, by age."""
        for file_id in self._ids(after=after, order=order):
            if stored := self._read(file_id):
                yield stored

    def open(self, file_id: str) -> BinaryIO:
        """Opens the content, which stays readable if the file is deleted meanwhile."""
        return self.content_path(file_id).open("rb")

    def content_path(self, file_id: str) -> Path:
        """Returns the path of the content. Raises NotFoundError."""
        return self._root / self.get(file_id).id / "content"

    def delete(self, file_id: str, *, confirm: Callable[[], None] = lambda: None) -> int:
        """Removes a file and returns the number of freed bytes. Calls `confirm` once the file is
        hidden; if that raises, the file is visible again.

        Raises NotFoundError, OSError, and the errors of `confirm`."""
        directory = self._root / self.get(file_id).id
        num_bytes = num_bytes_of(directory)
        try:
            (directory / "meta.json").rename(directory / _WITHHELD)
        except FileNotFoundError as error:
            raise _no_file(file_id) from error  # another process has just deleted it
        try:
            confirm()
        except BaseException:
            (directory / _WITHHELD).rename(directory / "meta.json")
            raise
        # From here on the file does not exist, whatever happens to the rest.
        (directory / _WITHHELD).rename(directory / _DELETED)
        sync_directory(directory)
        remove(directory)
        return num_bytes

    def remove_abandoned(self) -> tuple[str, ...]:
        """Removes the remains of interrupted deletions, and of uploads that were killed at least a
        day ago. Returns the ids. Logs the files that it can't remove."""
        oldest_kept = time.time() - _ABANDONED_AFTER_SECONDS
        removed = []
        for file_id in self._ids(after=None, order="asc"):
            directory = self._root / file_id
            try:
                if (directory / "meta.json").exists():
                    continue
                is_deleted = (directory / _DELETED).exists()
                if is_deleted or directory.stat().st_mtime <= oldest_kept:
                    remove(directory)
                    removed.append(file_id)
            except FileNotFoundError:
                continue  # removed meanwhile
            except OSError as error:
                _log.error("files: cannot remove the remains of %s: %s", file_id, error)
        return tuple(removed)

    def resolve(self, reference: str, *, owner: str | None = None) -> Path:
        """Returns the absolute path of the file that a job references.

        `reference` is a file id, or a path relative to the data root that stays inside it, also
        after following links. Raises NotFoundError for a missing file and InvalidRequestError for
        an invalid reference.
        """
        if FILE_IDS.matches(reference):
            return self.content_path(self.get(reference, owner=owner).id).resolve()
        if self._data_root is None:
            raise NotFoundError(
                f"no file {reference!r}; expected the id of an uploaded file "
                "(paths are not accepted: FLANT5_DATA_ROOT is not set)"
            )
        return path_under(self._data_root, reference)

    def _ids(self, *, after: str | None, order: Literal["asc", "desc"]) -> Iterator[str]:
        names = os.listdir(self._root) if self._root.is_dir() else []
        for name in sorted(filter(FILE_IDS.matches, names), reverse=order == "desc"):
            if after is None or (name < after if order == "desc" else name > after):
                yield name

    def _read(self, file_id: str) -> StoredFile | None:
        try:
            text = (self._root / file_id / "meta.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return StoredFile.model_validate_json(text)


def _no_file(file_id: str) -> NotFoundError:
    return NotFoundError(f"no file {file_id!r}; it was deleted or never uploaded")
