"""Models of an upload in parts, and its limits."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from worker.jobs.aged_id import AgedId

UPLOAD_IDS = AgedId("upload_")
PART_IDS = AgedId("part_")

MAX_PART_BYTES = 64 * 2**20
"""Maximum size of a part, in bytes: the part size of the SDK."""
MAX_PARTS = 10_000
"""Maximum number of parts of one upload, including repeated ones."""
MAX_REPEATS = 3
"""Maximum total size of all parts, as a multiple of the announced size. A client that got no
response sends its part again, and can't mark it as a retry."""


class UploadStatus(StrEnum):
    """Statuses with the SDK's names."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class AnnouncedFile(BaseModel):
    """The file as announced at the start of the upload."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    filename: str
    purpose: str
    mime_type: str
    num_bytes: int = Field(ge=0)


class Upload(BaseModel):
    """The content of `upload.json`; instants are Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    owner: str
    """Name of the API key that began it; empty on a server without keys."""
    announced: AnnouncedFile
    created_at: float
    expires_at: float
    status: UploadStatus = UploadStatus.PENDING
    """Never `expired` on disk; that follows from `expires_at`."""
    file_id: str | None = None
    """Id of the resulting file. It is saved before the file is written, so a killed completion is
    repeated with the same file."""
    part_ids: tuple[str, ...] = ()
    """The parts of that file, in order."""

    def seen(self, *, now: float, has_file: bool) -> "Upload":
        """Returns the upload with its status at `now`. It is completed once its file is whole."""
        if self.status is not UploadStatus.PENDING:
            return self
        if has_file:
            return self.model_copy(update={"status": UploadStatus.COMPLETED})
        if now >= self.expires_at:
            return self.model_copy(update={"status": UploadStatus.EXPIRED})
        return self


class Part(BaseModel):
    """A stored part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    upload_id: str
    num_bytes: int
    created_at: float
