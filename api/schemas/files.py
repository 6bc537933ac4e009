"""Files, as callers see them."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from api.schemas.pages import Identified
from worker.jobs.files import StoredFile


class FileObject(Identified):
    """An uploaded file."""

    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    """Always null: files stay until they are deleted."""
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    """A file is complete once it has an id; what it holds is checked by the job that uses it."""
    status_details: str | None = None

    @classmethod
    def of(cls, stored: StoredFile) -> Self:
        return cls(
            id=stored.id,
            bytes=stored.num_bytes,
            created_at=int(stored.created_at),
            filename=stored.filename,
            purpose=stored.purpose,
        )


class FileDeleted(BaseModel):
    """A file is gone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
