"""Removal of ended and expired uploads."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from worker.jobs.storage.upload import UPLOAD_IDS, UploadStatus
from worker.jobs.upload_directory import UploadDirectory

_REMEMBERED_SECONDS = 24 * 3600.0
"""Time after its expiry for which the status of an upload is kept."""


def remove_old_uploads(uploads: Path) -> Iterator[str]:
    """Removes the parts of ended and expired uploads, and all their files a day after expiry.
    Yields the id of each upload of which it removed anything, and "" for each other one."""
    names = sorted(os.listdir(uploads)) if uploads.is_dir() else []
    for name in filter(UPLOAD_IDS.matches, names):
        directory = UploadDirectory(uploads / name)
        try:
            lock = directory.lock(waits=False)
        except (BlockingIOError, FileNotFoundError):
            yield ""  # in use by another process, or already removed
            continue
        try:
            yield name if _remove_old(directory) else ""
        finally:
            os.close(lock)


def _remove_old(directory: UploadDirectory) -> bool:
    try:
        upload = directory.read()
    except FileNotFoundError:
        # The process that created it was killed midway.
        return _remove_whole(directory, expired_at=directory.path.stat().st_mtime)
    if _remove_whole(directory, expired_at=upload.expires_at):
        return True
    seen = upload.seen(now=time.time(), has_file=False)
    if seen.status is UploadStatus.PENDING or not directory.parts():
        return False
    directory.remove_parts()
    return True


def _remove_whole(directory: UploadDirectory, *, expired_at: float) -> bool:
    if time.time() - expired_at < _REMEMBERED_SECONDS:
        return False
    shutil.rmtree(directory.path)
    return True
