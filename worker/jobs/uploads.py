"""Uploads: big files that come in parts, over hours and restarts.

What was acknowledged is on disk, and a file appears when it is whole: a process that is killed at
any moment leaves an upload that goes on with the next request. Changes of one upload wait for each
other; parts may come side by side.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.jobs.durable import TooManyBytesError
from worker.jobs.errors import InvalidRequestError, NotFoundError, StorageFullError
from worker.jobs.files import FILE_IDS, FileStore, NewFile, check_filename
from worker.jobs.home import Home
from worker.jobs.part_checks import check_parts, check_room
from worker.jobs.room import room_for
from worker.jobs.upload import (
    MAX_PART_BYTES,
    UPLOAD_IDS,
    AnnouncedFile,
    Part,
    Upload,
    UploadStatus,
)
from worker.jobs.upload_directory import UploadDirectory


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What a server takes."""

    max_bytes: int
    seconds: int
    """Time from the first request of an upload to its completion."""


class UploadStore:
    """The uploads under HOME/uploads. Those of others don't exist for an `owner`; None sees all."""

    def __init__(self, home: Home, files: FileStore, limits: UploadLimits) -> None:
        self._root = home.uploads
        self._files = files
        self._limits = limits

    def create(self, announced: AnnouncedFile, *, owner: str) -> Upload:
        """A new upload without parts.

        Raises InvalidRequestError when the file is too large or can't have that name,
        StorageFullError when the disk has no room for it.
        """
        check_filename(announced.filename, param="filename")
        if announced.num_bytes > self._limits.max_bytes:
            raise InvalidRequestError(
                f"bytes: found {announced.num_bytes}; at most {self._limits.max_bytes} are taken "
                "by this server",
                param="bytes",
            )
        self._root.mkdir(parents=True, exist_ok=True)
        # The parts stay until the file that is made of them is whole.
        wanted, free = 2 * announced.num_bytes, shutil.disk_usage(self._root).free
        if wanted > free:
            raise StorageFullError(
                f"no room for the upload: {free} bytes are free on the server's disk, and it needs "
                f"{wanted} (the parts, then the file)"
            )
        now = time.time()
        upload = Upload(
            id=UPLOAD_IDS.new(),
            owner=owner,
            announced=announced,
            created_at=now,
            expires_at=now + self._limits.seconds,
        )
        with room_for("the upload"):
            UploadDirectory(self._root / upload.id).make(upload)
        return upload

    def get(self, upload_id: str, *, owner: str | None) -> Upload:
        """An upload as it stands. Raises NotFoundError."""
        return self._seen(self._directory(upload_id), owner=owner)

    def parts(self, upload_id: str, *, owner: str | None) -> tuple[Part, ...]:
        """The parts that are here, oldest first; none any more when it has ended."""
        self.get(upload_id, owner=owner)
        return self._directory(upload_id).parts()

    def pending_bytes(self, owner: str) -> int:
        """The size of the files that the owner's uploads will become."""
        names = os.listdir(self._root) if self._root.is_dir() else []
        uploads = (self._found(name) for name in filter(UPLOAD_IDS.matches, names))
        return sum(
            upload.announced.num_bytes
            for upload in uploads
            if upload is not None
            and upload.owner == owner
            and upload.status is UploadStatus.PENDING
        )

    def add_part(self, upload_id: str, *, owner: str | None, chunks: Iterable[bytes]) -> Part:
        """Write a part; when this returns it survives a power cut.

        Raises InvalidRequestError when the upload takes no (such) part, StorageFullError.
        """
        announced = _pending(self.get(upload_id, owner=owner)).announced
        directory = self._directory(upload_id)
        max_bytes = min(MAX_PART_BYTES, announced.num_bytes)
        try:
            with (
                room_for("the part"),
                directory.draft(chunks, max_bytes=max_bytes) as draft,
                self._locked(directory),
            ):
                # Meanwhile it may have ended.
                _pending(self._seen(directory, owner=owner))
                check_room(directory.parts(), announced, num_more_bytes=draft.num_bytes)
                return draft.keep()
        except TooManyBytesError as error:
            raise InvalidRequestError(
                f"data: the part is larger than {max_bytes} bytes; a part holds at most "
                f"{MAX_PART_BYTES}, and no more than the {announced.num_bytes} of its upload",
                param="data",
            ) from error

    def complete(
        self, upload_id: str, *, owner: str | None, part_ids: Sequence[str], md5: str | None = None
    ) -> Upload:
        """The upload whose file is these parts, in this order; a second call with the same parts
        changes nothing.

        Raises InvalidRequestError when they are not what was announced; the upload is still
        pending then. Raises StorageFullError.
        """
        directory = self._directory(upload_id)
        with self._locked(directory):
            upload = self._seen(directory, owner=owner)
            if upload.status is UploadStatus.COMPLETED and upload.part_ids != tuple(part_ids):
                raise InvalidRequestError(
                    f"upload {upload_id} was completed before, with other parts", param="part_ids"
                )
            with room_for("the file"):
                if upload.status is not UploadStatus.COMPLETED:
                    announced = _pending(upload).announced
                    check_parts(directory.parts(), announced, part_ids=part_ids)
                    upload = self._assemble(directory, _becoming(upload, part_ids), md5=md5)
                return _ended(directory, upload)

    def cancel(self, upload_id: str, *, owner: str | None) -> Upload:
        """The upload without its parts; a second call changes nothing. Raises InvalidRequestError
        when it was completed or has expired."""
        directory = self._directory(upload_id)
        with self._locked(directory):
            upload = self._seen(directory, owner=owner)
            if upload.status is UploadStatus.CANCELLED:
                return upload
            update = {"status": UploadStatus.CANCELLED}
            return _ended(directory, _pending(upload).model_copy(update=update))

    def _assemble(self, directory: UploadDirectory, upload: Upload, *, md5: str | None) -> Upload:
        assert upload.file_id is not None, "it was chosen"
        directory.write(upload)
        # Of a completion that was killed.
        self._files.clear(upload.file_id)
        announced = upload.announced
        self._files.write(
            NewFile(
                id=upload.file_id,
                filename=announced.filename,
                purpose=announced.purpose,
                owner=upload.owner,
            ),
            chunks=directory.content(upload.part_ids, md5=md5),
            max_bytes=announced.num_bytes,
        )
        return upload.model_copy(update={"status": UploadStatus.COMPLETED})

    def _directory(self, upload_id: str) -> UploadDirectory:
        if not UPLOAD_IDS.matches(upload_id):
            raise NotFoundError(f"no upload {upload_id!r}; its id is 'upload_' and 26 characters")
        return UploadDirectory(self._root / upload_id)

    def _seen(self, directory: UploadDirectory, *, owner: str | None) -> Upload:
        try:
            upload = directory.read()
        except FileNotFoundError as error:
            raise _unknown(directory.path) from error
        if owner not in (None, upload.owner):
            raise _unknown(directory.path)
        has_file = upload.file_id is not None and self._files.find(upload.file_id) is not None
        return upload.seen(now=time.time(), has_file=has_file)

    def _found(self, upload_id: str) -> Upload | None:
        try:
            return self.get(upload_id, owner=None)
        except NotFoundError:
            return None  # it is being made, or was removed just now

    @contextmanager
    def _locked(self, directory: UploadDirectory) -> Iterator[None]:
        try:
            lock = directory.lock(waits=True)
        except FileNotFoundError as error:
            raise _unknown(directory.path) from error
        try:
            yield
        finally:
            os.close(lock)


def _unknown(path: Path) -> NotFoundError:
    return NotFoundError(f"no upload {path.name!r}; it was removed, or never begun here")


def _pending(upload: Upload) -> Upload:
    if upload.status is not UploadStatus.PENDING:
        raise InvalidRequestError(
            f"upload {upload.id} is {upload.status}; expected one that is pending",
            param="upload_id",
        )
    return upload


def _becoming(upload: Upload, part_ids: Sequence[str]) -> Upload:
    file_id = upload.file_id or FILE_IDS.new()
    return upload.model_copy(update={"file_id": file_id, "part_ids": tuple(part_ids)})


def _ended(directory: UploadDirectory, upload: Upload) -> Upload:
    directory.write(upload)
    directory.remove_parts()
    return upload
