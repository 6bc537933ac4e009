"""Schemas of files, of uploads in parts, and of files in a job's output."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.schemas.common import Identified
from worker.jobs.storage.files import StoredFile
from worker.jobs.storage.upload import MAX_PARTS, Part, Upload, UploadStatus


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


_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CreateUpload(BaseModel):
    """A file to upload in parts."""

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
    """Size of the whole file. Must equal the total size of the parts."""
    filename: str
    """The caller's name for the file, up to 255 characters."""
    mime_type: str = Field(max_length=255)
    """Stored but not used. The format is detected from the content."""
    purpose: Literal["fine-tune"]
    """Purpose of the file."""
    expires_after: JsonValue = None
    """Not supported. Must be null or omitted."""


class CompleteUpload(BaseModel):
    """The parts of the file."""

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
    """Parts in file order, each once. Unlisted parts are omitted."""
    md5: str | None = Field(None, pattern=r"^[0-9a-fA-F]{32}$")
    """Expected MD5 checksum of the file, in hexadecimal."""


class UploadObject(Identified):
    """An upload in parts."""

    object: Literal["upload"] = "upload"
    bytes: int
    """The announced size."""
    created_at: int
    """Unix seconds."""
    expires_at: int
    """Time at which the parts are removed unless the upload is completed."""
    filename: str
    """The caller's name for the file."""
    purpose: str
    """Purpose of the file."""
    status: UploadStatus
    """`pending`, `completed`, `cancelled` or `expired`."""
    file: FileObject | None
    """The file of a completed upload, else null. Also null after the file was deleted."""

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
    """A stored part."""

    object: Literal["upload.part"] = "upload.part"
    created_at: int
    """Unix seconds."""
    upload_id: str
    """The upload that it belongs to."""
    bytes: int
    """Size in bytes. Not part of the SDK."""

    @classmethod
    def of(cls, part: Part) -> Self:
        return cls(
            id=part.id,
            created_at=int(part.created_at),
            upload_id=part.upload_id,
            bytes=part.num_bytes,
        )


class Artifact(Identified):
    """A file that can be downloaded from `.../artifacts/{id}`. Its id is its path, relative to the
    output directory."""

    object: Literal["fine_tuning.job.artifact"] = "fine_tuning.job.artifact"
    bytes: int
    """Size in bytes."""
