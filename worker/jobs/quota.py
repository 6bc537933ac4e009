"""Storage quota of each owner's uploads on the disk of HOME."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from worker.jobs.errors import StorageQuotaError
from worker.jobs.storage.files import FileStore
from worker.jobs.storage.uploads import UploadStore


class StorageQuota:
    """Counts an owner's files and the announced sizes of its pending uploads. The files of jobs are
    not counted: the retention of checkpoints limits them."""

    def __init__(self, files: FileStore, uploads: UploadStore, *, max_bytes: int) -> None:
        """`max_bytes` limits the stored bytes of one owner; 0 disables the limit."""
        self._files = files
        self._uploads = uploads
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._reserved: Counter[str] = Counter()

    @contextmanager
    def reserved(self, num_bytes: int, *, owner: str) -> Iterator[None]:
        """Reserves `num_bytes` while the block stores them. Raises StorageQuotaError if they exceed
        the quota, together with the stored bytes and other reservations."""
        if not self._max_bytes:
            yield
            return
        with self._lock:
            stored = self._stored_bytes(owner) + self._reserved[owner]
            if stored + num_bytes > self._max_bytes:
                raise StorageQuotaError(
                    f"{num_bytes} bytes exceed the storage quota of this API key: {stored} of "
                    f"{self._max_bytes} bytes are used. Delete files that are no longer needed"
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
