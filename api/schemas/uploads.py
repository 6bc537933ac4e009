"""Files that come in parts, as callers see them."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.schemas.files import FileObject
from api.schemas.pages import Identified
from worker.jobs.files import StoredFile
from worker.jobs.upload import MAX_PARTS, Part, Upload, UploadStatus

_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CreateUpload(BaseModel):
    """The file that is to come."""

    model_config = ConfigDict(
        **_CLOSED,
        json_schema_extra={
            "examples": [
                {
                    "purpose": "fine-tune",
                    "filename": "talks.jsonl",
                    "bytes": 629145600,
                    "mime_type": "text/jsonl",
                }
            ]
        },
    )

    bytes: int = Field(ge=0, strict=True)
    """The size of the whole file; its parts have to add up to it."""
    filename: str
    """The caller's name for it, up to 255 characters."""
    mime_type: str = Field(max_length=255)
    """Kept and not used: what a file holds is read from its content."""
    purpose: Literal["fine-tune"]
    """What the file is for."""
    expires_after: JsonValue = None
    """Not supported: null, or left out."""


class CompleteUpload(BaseModel):
    """What the file is made of."""

    model_config = ConfigDict(
        **_CLOSED,
        json_schema_extra={
            "examples": [
                {
                    "part_ids": ["part_1htr6qczhpv7pqxkdj6r1qk4ms"],
                    "md5": "d41d8cd98f00b204e9800998ecf8427e",
                }
            ]
        },
    )

    part_ids: list[str] = Field(max_length=MAX_PARTS)
    """The parts in the order in which they make the file, each once; parts that are not named are
    left out."""
    md5: str | None = Field(None, pattern=r"^[0-9a-fA-F]{32}$")
    """The checksum that the file has to have, in hexadecimal."""


class UploadObject(Identified):
    """A file that comes in parts."""

    object: Literal["upload"] = "upload"
    bytes: int
    """The size that was announced."""
    created_at: int
    """Unix seconds."""
    expires_at: int
    """When its parts are removed unless it was completed."""
    filename: str
    """The caller's name for the file."""
    purpose: str
    """What the file is for."""
    status: UploadStatus
    """`pending` until it is completed or cancelled, or `expired`."""
    file: FileObject | None
    """The file, once the upload is completed; null before, and after it was deleted."""

    @classmethod
    def of(cls, upload: Upload, *, file: StoredFile | None) -> Self:
        return cls(
            id=upload.id,
            bytes=upload.announced.num_bytes,
            created_at=int(upload.created_at),
            expires_at=int(upload.expires_at),
            filename=upload.announced.filename,
            purpose=upload.announced.purpose,
            status=upload.status,
            file=None if file is None else FileObject.of(file),
        )


class UploadPart(Identified):
    """A part that is on disk."""

    object: Literal["upload.part"] = "upload.part"
    created_at: int
    """Unix seconds."""
    upload_id: str
    """The upload it belongs to."""
    bytes: int
    """Its size; a field beyond the SDK's."""

    @classmethod
    def of(cls, part: Part) -> Self:
        return cls(
            id=part.id,
            created_at=int(part.created_at),
            upload_id=part.upload_id,
            bytes=part.num_bytes,
        )
