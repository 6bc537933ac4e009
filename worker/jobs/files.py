"""Uploaded files on disk, and what a job's file reference stands for.

HOME/files/<file-id>/content      the bytes, as they came
HOME/files/<file-id>/meta.json    what is known about them; written last: its existence means that
                                  the file is complete

Names sort by age, so a page of the newest files needs no look into any other.
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

from worker.jobs.aged_id import AgedId
from worker.jobs.data_root import path_under
from worker.jobs.durable import TooManyBytesError, sync_directory, write_chunks, write_whole
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.events import Page
from worker.jobs.home import Home
from worker.jobs.removal import num_bytes_of, remove
from worker.jobs.room import room_for

MAX_FILENAME_LENGTH = 255

FILE_IDS = AgedId("file-")
_ABANDONED_AFTER_SECONDS = 24 * 3600
_DELETED = "deleted.json"
_WITHHELD = "withheld.json"
"""The name of meta.json while a deletion asks whether a job needs the file."""
"""What `meta.json` is called while a deleted file is removed."""

_log = logging.getLogger(__name__)


class StoredFile(BaseModel):
    """The content of `meta.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    filename: str
    """The caller's name for it: data, never part of a path."""
    purpose: str
    num_bytes: int
    created_at: float
    owner: str = ""
    """Name of the API key that it came with; empty where none is asked for."""

    def is_seen_by(self, owner: str | None) -> bool:
        """Whether it exists for `owner`; None stands for one who sees all."""
        return owner is None or owner == self.owner


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is to be; its name was checked."""

    id: str
    filename: str
    purpose: str
    owner: str = ""

    @classmethod
    def called(cls, filename: str, *, purpose: str, owner: str) -> Self:
        """With an id of its own. Raises InvalidRequestError when no file can have that name."""
        check_filename(filename, param="file")
        return cls(id=FILE_IDS.new(), filename=filename, purpose=purpose, owner=owner)


def check_filename(filename: str, *, param: str) -> None:
    """Raises InvalidRequestError when a file can't have this name."""
    if len(filename) > MAX_FILENAME_LENGTH:
        raise InvalidRequestError(
            f"the file name has {len(filename)} characters; at most {MAX_FILENAME_LENGTH} are kept",
            param=param,
        )


class FileStore:
    """The files under HOME/files and, by relative path, those under the data root.

    Where a method takes an `owner`, the files of others don't exist for it; None sees all.
    """

    def __init__(self, home: Home, data_root: Path | None) -> None:
        self._root = home.files
        self._data_root = data_root

    def write(self, new: NewFile, *, chunks: Iterable[bytes], max_bytes: int) -> StoredFile:
        """Write `chunks` to disk; when this returns the file survives a power cut.

        Raises InvalidRequestError when there are more than `max_bytes` bytes, StorageFullError
        when the disk is, and what `chunks` raises; nothing of it stays then.
        """
        directory = self._root / new.id
        with room_for("the file"):
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
        """As `get`, for an id of ours that need not be that of a file."""
        return self._read(file_id)

    def clear(self, file_id: str) -> None:
        """Remove what a write that was killed left under an id of ours. Only for those who know
        that nobody writes it now."""
        shutil.rmtree(self._root / file_id, ignore_errors=True)

    def get(self, file_id: str, *, owner: str | None = None) -> StoredFile:
        """What is known about a file; NotFoundError when there is none of that id."""
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
        """Those `wanted`, by age, newest first unless `order` is "asc". `after` need not exist any
        more."""
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
        """Every file, by age."""
        for file_id in self._ids(after=after, order=order):
            if stored := self._read(file_id):
                yield stored

    def open(self, file_id: str) -> BinaryIO:
        """The content, open for reading: it stays readable when the file is deleted meanwhile."""
        return self.content_path(file_id).open("rb")

    def content_path(self, file_id: str) -> Path:
        """Where the content lies; NotFoundError when there is no file of that id."""
        return self._root / self.get(file_id).id / "content"

    def delete(self, file_id: str, *, confirm: Callable[[], None] = lambda: None) -> int:
        """Remove a file, and return the number of bytes that this has freed. `confirm` is called
        when nobody finds the file any more: it is there again when that raises.

        Raises NotFoundError when there is none of that id, OSError when the disk refuses."""
        directory = self._root / self.get(file_id).id
        num_bytes = num_bytes_of(directory)
        try:
            (directory / "meta.json").rename(directory / _WITHHELD)
        except FileNotFoundError as error:
            raise _no_file(file_id) from error  # somebody else has deleted it just now
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
        """Remove what is left of files whose deletion was broken off, and of uploads that were
        killed half-way a day ago; their ids. What can't be removed is logged."""
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
                _log.error("what is left of %s can't be removed: %s", file_id, error)
        return tuple(removed)

    def resolve(self, reference: str, *, owner: str | None = None) -> Path:
        """The absolute path of the file that a job names.

        `reference` is a file id, or a path relative to the data root that does not leave it, not
        even by a link. Raises NotFoundError when there is no such file, InvalidRequestError when
        the reference is neither.
        """
        if FILE_IDS.matches(reference):
            return self.content_path(self.get(reference, owner=owner).id).resolve()
        if self._data_root is None:
            raise NotFoundError(
                f"no file {reference!r}; expected the id of an uploaded file "
                "(this server has no data root, so paths name nothing)"
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
    return NotFoundError(f"no file {file_id!r}; it was deleted, or never uploaded here")
