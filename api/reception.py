"""An uploaded file becomes one of ours."""

from fastapi import UploadFile

from api.services import Services
from worker.jobs.files import NewFile, StoredFile

_CHUNK_BYTES = 2**20


def receive(file: UploadFile, *, purpose: str, owner: str, services: Services) -> StoredFile:
    """The file, on disk and counted.

    Raises InvalidRequestError for its name or length, StorageQuotaError, StorageFullError.
    """
    new = NewFile.called(file.filename or "", purpose=purpose, owner=owner)
    with services.quota.reserved(file.size or 0, owner=owner):
        stored = services.files.write(
            new,
            chunks=iter(lambda: file.file.read(_CHUNK_BYTES), b""),
            max_bytes=services.settings.max_file_bytes,
        )
    services.metrics.count_upload(stored.num_bytes)
    return stored
