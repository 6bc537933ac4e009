"""Storage of uploaded files."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import UploadFile

from api.dependencies import Services
from api.services.recorder import disk_error
from worker.jobs.storage.files import NewFile, StoredFile

_CHUNK_BYTES = 2**20


def receive(file: UploadFile, *, purpose: str, owner: str, services: Services) -> StoredFile:
    """Stores an uploaded file on disk and counts it.

    Raises InvalidRequestError for its name or length, StorageQuotaError, StorageFullError and
    StorageFailedError.
    """
    new = NewFile.called(file.filename or "", purpose=purpose, owner=owner)
    with disk_errors(), services.quota.reserved(file.size or 0, owner=owner):
        stored = services.files.write(
            new,
            chunks=iter(lambda: file.file.read(_CHUNK_BYTES), b""),
            max_bytes=services.settings.max_file_bytes,
        )
    services.metrics.count_upload(stored.num_bytes)
    return stored


@contextmanager
def disk_errors() -> Iterator[None]:
    """Translates disk errors during an upload."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, f"the upload can't be stored: {error.strerror}") from error
