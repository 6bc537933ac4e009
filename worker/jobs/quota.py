"""How much each owner may keep on the disk of HOME by uploading it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from worker.jobs.errors import StorageQuotaError
from worker.jobs.files import FileStore
from worker.jobs.uploads import UploadStore


class StorageQuota:
    """Counts an owner's files, and what its uploads in parts will become. What jobs write is not
    counted: the retention of checkpoints limits that."""

    def __init__(self, files: FileStore, uploads: UploadStore, *, max_bytes: int) -> None:
        """`max_bytes` of 0 means any number."""
        self._files = files
        self._uploads = uploads
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._reserved: Counter[str] = Counter()

    @contextmanager
    def reserved(self, num_bytes: int, *, owner: str) -> Iterator[None]:
        """Around what stores `num_bytes` more. Raises StorageQuotaError when they are too many,
        together with what is stored and what is being stored now."""
        if not self._max_bytes:
            yield
            return
        with self._lock:
            stored = self._stored_bytes(owner) + self._reserved[owner]
            if stored + num_bytes > self._max_bytes:
                raise StorageQuotaError(
                    f"{num_bytes} bytes are more than this key may store: it has {stored} of "
                    f"{self._max_bytes}; delete files that are no longer needed"
                )
            self._reserved[owner] += num_bytes
        try:
            yield
        finally:
            with self._lock:
                self._reserved[owner] -= num_bytes

    def _stored_bytes(self, owner: str) -> int:
        files = sum(file.num_bytes for file in self._files.all() if file.owner == owner)
        return files + self._uploads.pending_bytes(owner)
