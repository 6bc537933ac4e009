"""Schema of files."""

from typing import Literal, Self

from api.schemas.pages import Identified
from worker.jobs.storage.files import StoredFile


class FileObject(Identified):
    """An uploaded file."""

    object: Literal["file"] = "file"
    bytes: int
    """Size in bytes."""
    created_at: int
    """Unix seconds."""
    expires_at: int | None = None
    """Always null: files stay until they are deleted."""
    filename: str
    """The caller's name for the file."""
    purpose: str
    """`fine-tune` for conversations, `fine-tune-results` for the metrics of a job."""
    status: Literal["processed"] = "processed"
    """A file is complete once it has an id. Its content is checked by the job that uses it."""
    status_details: str | None = None
    """Always null."""

    @classmethod
    def of(cls, stored: StoredFile) -> Self:
        return cls(
            id=stored.id,
            bytes=stored.num_bytes,
            created_at=int(stored.created_at),
            filename=stored.filename,
            purpose=stored.purpose,
        )
