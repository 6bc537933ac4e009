"""The directory of one upload.

HOME/uploads/<upload-id>/upload.json       the announced file, and the upload's status
HOME/uploads/<upload-id>/parts/<part-id>   a part; it gets this name once it is complete
HOME/uploads/<upload-id>/lock              held while a process changes one of these
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.jobs.errors import InvalidRequestError
from worker.jobs.storage.filesystem import sync_directory, write_chunks, write_whole
from worker.jobs.storage.upload import PART_IDS, Part, Upload

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
