"""An upload: a file that comes in parts, and what has become of it."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from worker.jobs.aged_id import AgedId

UPLOAD_IDS = AgedId("upload_")
PART_IDS = AgedId("part_")

MAX_PART_BYTES = 64 * 2**20
"""What the SDK cuts files into."""
MAX_PARTS = 10_000
"""Parts of one upload, those that were sent again among them."""
MAX_REPEATS = 3
"""How often all bytes of an upload may come: a client that got no answer sends its part again, and
can't say so."""


class UploadStatus(StrEnum):
    """As the SDK names them."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class AnnouncedFile(BaseModel):
    """The file that is to come."""

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
    """The name of the key that began it; empty on a server without keys."""
    announced: AnnouncedFile
    created_at: float
    expires_at: float
    status: UploadStatus = UploadStatus.PENDING
    """Never `expired` on disk: the clock says that."""
    file_id: str | None = None
    """The file that it becomes. It is on disk before the file is, so that a completion that was
    killed goes on with the same file and makes no second one."""
    part_ids: tuple[str, ...] = ()
    """What that file is made of, in order."""

    def seen(self, *, now: float, has_file: bool) -> "Upload":
        """As it stands at that moment: it is completed as soon as its file is whole."""
        if self.status is not UploadStatus.PENDING:
            return self
        if has_file:
            return self.model_copy(update={"status": UploadStatus.COMPLETED})
        if now >= self.expires_at:
            return self.model_copy(update={"status": UploadStatus.EXPIRED})
        return self


class Part(BaseModel):
    """A part that is on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    upload_id: str
    num_bytes: int
    created_at: float
