"""One upload in parts: its models, limits, validation and directory.

The upload, each of its parts, and a lock are separate files:

    HOME/uploads/<upload-id>/upload.json       the announced file, and the upload's status
    HOME/uploads/<upload-id>/parts/<part-id>   a part; it gets this name once it is complete
    HOME/uploads/<upload-id>/lock              held while a process changes one of these
"""

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from worker.jobs.errors import InvalidRequestError
from worker.jobs.storage.filesystem import SortableId, sync_directory, write_chunks, write_whole

UPLOAD_IDS = SortableId("upload_")
PART_IDS = SortableId("part_")

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


_CHUNK_BYTES = 2**20


class UploadDirectory:
    """The files of one upload."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = path / "parts"

    def make(self, upload: Upload) -> None:
        self._parts.mkdir(parents=True)
        self.write(upload)
        sync_directory(self.path.parent)

    def read(self) -> Upload:
        """Reads `upload.json`. Raises FileNotFoundError."""
        return Upload.model_validate_json((self.path / "upload.json").read_bytes())

    def write(self, upload: Upload) -> None:
        write_whole(self.path / "upload.json", upload.model_dump_json(indent=2) + "\n")

    @contextmanager
    def draft(self, chunks: Iterable[bytes], *, max_bytes: int) -> Iterator["Draft"]:
        """Writes a draft of a part, and removes it unless it is kept. Raises TooManyBytesError."""
        draft = Draft(self._parts / PART_IDS.new())
        try:
            draft.num_bytes = write_chunks(draft.path, chunks, max_bytes=max_bytes)
            yield draft
        finally:
            draft.path.unlink(missing_ok=True)

    def parts(self) -> tuple[Part, ...]:
        """Returns the complete parts in the order in which their transfer began."""
        with os.scandir(self._parts) as entries:
            found = [(each.name, each.stat()) for each in entries if PART_IDS.matches(each.name)]
        return tuple(
            Part(
                id=name,
                upload_id=self.path.name,
                num_bytes=status.st_size,
                created_at=status.st_mtime,
            )
            for name, status in sorted(found, key=lambda each: each[0])
        )

    def content(self, part_ids: Iterable[str], *, md5: str | None) -> Iterator[bytes]:
        """Yields the bytes of these parts. Raises InvalidRequestError after the last one if the
        checksum differs."""
        digest = hashlib.md5(usedforsecurity=False)
        for part_id in part_ids:
            with (self._parts / part_id).open("rb") as part:
                while chunk := part.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    yield chunk
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise InvalidRequestError(
                f"md5: the checksum of these parts is {digest.hexdigest()}; expected {md5}. The "
                "upload is still pending",
                param="md5",
            )

    def remove_parts(self) -> None:
        """Removes the parts, but not the directory: another process may be about to write into
        it."""
        for path in self._parts.iterdir():
            path.unlink(missing_ok=True)

    def lock(self, *, waits: bool) -> int:
        """Returns a descriptor that holds the lock until it is closed. Raises FileNotFoundError for
        a missing upload, and BlockingIOError if it is locked and `waits` is False."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


class Draft:
    """A part with a temporary name."""

    def __init__(self, part: Path) -> None:
        self._part = part
        self.path = part.with_name(f"{part.name}.draft")
        self.num_bytes = 0

    def keep(self) -> Part:
        """Turns the draft into a part; returns once it is on disk."""
        self.path.rename(self._part)
        sync_directory(self._part.parent)
        return Part(
            id=self._part.name,
            upload_id=self._part.parent.parent.name,
            num_bytes=self.num_bytes,
            created_at=self._part.stat().st_mtime,
        )


def check_size_left(
    parts: Sequence[Part], announced: AnnouncedFile, *, num_more_bytes: int
) -> None:
    """Raises InvalidRequestError if another part would exceed a limit."""
    if len(parts) >= MAX_PARTS:
        raise InvalidRequestError(
            f"data: the upload already has {len(parts)} parts, the limit. Send larger parts",
            param="data",
        )
    num_bytes = sum(part.num_bytes for part in parts)
    if num_bytes + num_more_bytes > MAX_REPEATS * announced.num_bytes:
        raise InvalidRequestError(
            f"data: the parts have {num_bytes} bytes and this one has {num_more_bytes}. The limit "
            f"for all parts is {MAX_REPEATS} times the {announced.num_bytes} bytes announced",
            param="data",
        )


def check_parts(
    parts: Sequence[Part], announced: AnnouncedFile, *, part_ids: Sequence[str]
) -> None:
    """Raises InvalidRequestError unless `part_ids` are distinct `parts` that add up to the
    announced size."""
    sizes = {part.id: part.num_bytes for part in parts}
    for part_id, count in Counter(part_ids).items():
        if part_id not in sizes or count > 1:
            found = f"{part_id!r} {count} times" if part_id in sizes else f"{part_id[:64]!r}"
            raise InvalidRequestError(
                f"part_ids: found {found}; expected parts of this upload, each once",
                param="part_ids",
            )
    num_bytes = sum(sizes[part_id] for part_id in part_ids)
    if num_bytes != announced.num_bytes:
        raise InvalidRequestError(
            f"part_ids: the {len(part_ids)} parts have {num_bytes} bytes; expected the "
            f"{announced.num_bytes} bytes announced. The upload is still pending",
            param="part_ids",
        )
