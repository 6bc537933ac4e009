"""Uploads of large files in parts, which may take hours and survive restarts.

Acknowledged parts are on disk, and a file appears only when it is complete. If a process is killed
at any moment, the upload continues with the next request. Changes of one upload are serialized;
parts may be sent in parallel.

This module also removes ended and expired uploads, and limits the disk space of HOME that each
owner's uploads use.
"""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flant5_train.protocol.host import free_bytes
from worker.jobs.errors import (
    InvalidRequestError,
    NotFoundError,
    StorageFullError,
    StorageQuotaError,
)
from worker.jobs.storage.files import FILE_IDS, FileStore, NewFile, check_filename
from worker.jobs.storage.filesystem import TooManyBytesError, translate_disk_full
from worker.jobs.storage.paths import Home
from worker.jobs.storage.upload import (
    MAX_PART_BYTES,
    UPLOAD_IDS,
    AnnouncedFile,
    Part,
    Upload,
    UploadDirectory,
    UploadStatus,
    check_parts,
    check_size_left,
)


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of one upload."""

    max_bytes: int
    seconds: int
    """Maximum time from the first request of an upload to its completion."""


class UploadStore:
    """The uploads under HOME/uploads.

    For an `owner`, the uploads of other owners do not exist; None sees all.
    """

    def __init__(self, home: Home, files: FileStore, limits: UploadLimits) -> None:
        self._root = home.uploads
        self._files = files
        self._limits = limits

    def create(self, announced: AnnouncedFile, *, owner: str) -> Upload:
        """Creates an upload without parts.

        Raises InvalidRequestError if the file is too large or has an invalid name, and
        StorageFullError if the disk has not enough space.
        """
        check_filename(announced.filename, param="filename")
        if announced.num_bytes > self._limits.max_bytes:
            raise InvalidRequestError(
                f"bytes: found {announced.num_bytes}; the limit of this server is "
                f"{self._limits.max_bytes}",
                param="bytes",
            )
        self._root.mkdir(parents=True, exist_ok=True)
        # The parts are kept until the file is complete.
        wanted, free = 2 * announced.num_bytes, free_bytes(self._root)
        if wanted > free:
            raise StorageFullError(
                f"no disk space for the upload: it needs {wanted} bytes (the parts and the file); "
                f"{free} are free on the server"
            )
        now = time.time()
        upload = Upload(
            id=UPLOAD_IDS.new(),
            owner=owner,
            announced=announced,
            created_at=now,
            expires_at=now + self._limits.seconds,
        )
        with translate_disk_full("the upload"):
            UploadDirectory(self._root / upload.id).make(upload)
        return upload

    def get(self, upload_id: str, *, owner: str | None) -> Upload:
        """Returns an upload with its current status. Raises NotFoundError."""
        return self._seen(self._directory(upload_id), owner=owner)

    def parts(self, upload_id: str, *, owner: str | None) -> tuple[Part, ...]:
        """Returns the stored parts, oldest first; none once the upload has ended."""
        self.get(upload_id, owner=owner)
        return self._directory(upload_id).parts()

    def pending_bytes(self, owner: str) -> int:
        """Returns the total announced size of the owner's pending uploads."""
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
        """Writes a part; when this returns, the part survives a power cut.

        Raises InvalidRequestError if the upload is not pending or the part is too large, and
        StorageFullError.
        """
        announced = _pending(self.get(upload_id, owner=owner)).announced
        directory = self._directory(upload_id)
        max_bytes = min(MAX_PART_BYTES, announced.num_bytes)
        try:
            with (
                translate_disk_full("the part"),
                directory.draft(chunks, max_bytes=max_bytes) as draft,
                self._locked(directory),
            ):
                # The upload may have ended meanwhile.
                _pending(self._seen(directory, owner=owner))
                check_size_left(directory.parts(), announced, num_more_bytes=draft.num_bytes)
                return draft.keep()
        except TooManyBytesError as error:
            raise InvalidRequestError(
                f"data: the part is larger than {max_bytes} bytes. The limit is {MAX_PART_BYTES} "
                f"per part, and the {announced.num_bytes} bytes of the upload",
                param="data",
            ) from error

    def complete(
        self, upload_id: str, *, owner: str | None, part_ids: Sequence[str], md5: str | None = None
    ) -> Upload:
        """Completes an upload with these parts in this order. A second call with the same parts
        changes nothing.

        Raises InvalidRequestError if they don't match the announced file; the upload stays pending.
        Raises StorageFullError.
        """
        directory = self._directory(upload_id)
        with self._locked(directory):
            upload = self._seen(directory, owner=owner)
            if upload.status is UploadStatus.COMPLETED and upload.part_ids != tuple(part_ids):
                raise InvalidRequestError(
                    f"upload {upload_id} was already completed with other parts", param="part_ids"
                )
            with translate_disk_full("the file"):
                if upload.status is not UploadStatus.COMPLETED:
                    announced = _pending(upload).announced
                    check_parts(directory.parts(), announced, part_ids=part_ids)
                    upload = self._assemble(directory, _becoming(upload, part_ids), md5=md5)
                return _ended(directory, upload)

    def cancel(self, upload_id: str, *, owner: str | None) -> Upload:
        """Cancels an upload and removes its parts; a second call changes nothing. Raises
        InvalidRequestError if it was completed or has expired."""
        directory = self._directory(upload_id)
        with self._locked(directory):
            upload = self._seen(directory, owner=owner)
            if upload.status is UploadStatus.CANCELLED:
                return upload
            update = {"status": UploadStatus.CANCELLED}
            return _ended(directory, _pending(upload).model_copy(update=update))

    def _assemble(self, directory: UploadDirectory, upload: Upload, *, md5: str | None) -> Upload:
        assert upload.file_id is not None, "the caller has chosen it"
        directory.write(upload)
        # A killed completion may have left a part of the file.
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
            return None  # being created, or just removed

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
    return NotFoundError(f"no upload {path.name!r}; it was removed or never created")


def _pending(upload: Upload) -> Upload:
    if upload.status is not UploadStatus.PENDING:
        raise InvalidRequestError(
            f"upload {upload.id} is {upload.status}; expected a pending upload",
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


_REMEMBERED_SECONDS = 24 * 3600.0
"""Time after its expiry for which the status of an upload is kept."""


def remove_old_uploads(uploads: Path) -> Iterator[str]:
    """Removes the parts of ended and expired uploads, and all their files a day after expiry.
    Yields the id of each upload of which it removed anything, and "" for each other one."""
    names = sorted(os.listdir(uploads)) if uploads.is_dir() else []
    for name in filter(UPLOAD_IDS.matches, names):
        directory = UploadDirectory(uploads / name)
        try:
            lock = directory.lock(waits=False)
        except (BlockingIOError, FileNotFoundError):
            yield ""  # in use by another process, or already removed
            continue
        try:
            yield name if _remove_old(directory) else ""
        finally:
            os.close(lock)


def _remove_old(directory: UploadDirectory) -> bool:
    try:
        upload = directory.read()
    except FileNotFoundError:
        # The process that created it was killed midway.
        return _remove_whole(directory, expired_at=directory.path.stat().st_mtime)
    if _remove_whole(directory, expired_at=upload.expires_at):
        return True
    seen = upload.seen(now=time.time(), has_file=False)
    if seen.status is UploadStatus.PENDING or not directory.parts():
        return False
    directory.remove_parts()
    return True


def _remove_whole(directory: UploadDirectory, *, expired_at: float) -> bool:
    if time.time() - expired_at < _REMEMBERED_SECONDS:
        return False
    shutil.rmtree(directory.path)
    return True


class StorageQuota:
    """Counts an owner's files and the announced sizes of its pending uploads. The files of jobs are
    not counted: the retention of checkpoints limits them."""

    def __init__(self, files: FileStore, uploads: UploadStore, *, max_bytes: int) -> None:
        """`max_bytes` limits the stored bytes of one owner; 0 disables the limit."""
        self._files = files
        self._uploads = uploads
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._reserved: Counter[str] = Counter()

    @contextmanager
    def reserved(self, num_bytes: int, *, owner: str) -> Iterator[None]:
        """Reserves `num_bytes` while the block stores them. Raises StorageQuotaError if they exceed
        the quota, together with the stored bytes and other reservations."""
        if not self._max_bytes:
            yield
            return
        with self._lock:
            stored = self._stored_bytes(owner) + self._reserved[owner]
            if stored + num_bytes > self._max_bytes:
                raise StorageQuotaError(
                    f"{num_bytes} bytes exceed the storage quota of this API key: {stored} of "
                    f"{self._max_bytes} bytes are used. Delete files that are no longer needed"
                )
            self._reserved[owner] += num_bytes
        try:
            yield
        finally:
            with self._lock:
                self._reserved[owner] -= num_bytes

    def _stored_bytes(self, owner: str) -> int:
        files = sum(file.num_bytes for file in self._files.all() if file.owner == owner)
        return files + self._uploads.pending_bytes(owner)
