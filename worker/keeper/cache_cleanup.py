"""Removes unused cache entries: encoded conversations and file surveys.

`flant5_train.data.cache` and `flant5_train.forecast.data` write them. The former guarantees: the
age of `manifest.json` is the time since the last use, a writer holds the lock `<entry>.lock`, and a
reader holds a shared lock on `tokens.bin`.
"""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.jobs.storage.lock import LockedError, take_lock

logger = logging.getLogger(__name__)


def remove_unused(cache: Path, *, seconds: float) -> Iterator[None]:
    """Checks one entry per iteration and removes it if it is unused for `seconds`."""
    for entry in sorted(path for path in cache.glob("*") if path.is_dir()):
        try:
            if _is_unused(entry, seconds):
                _remove(entry, seconds)
        except FileNotFoundError:
            continue  # another keeper removed it first
        except OSError:
            logger.exception("cache: cannot remove %s", entry)
        yield


def _remove(entry: Path, seconds: float) -> None:
    try:
        lock = take_lock(entry.with_name(f"{entry.name}.lock"), patience_seconds=0)
    except LockedError:
        return  # it is being written
    try:
        with _no_readers(entry) as is_free:
            # Checked again: it may have been used before the lock was taken.
            if is_free and _is_unused(entry, seconds):
                # The manifest first: it marks the entry as complete.
                (entry / "manifest.json").unlink(missing_ok=True)
                shutil.rmtree(entry)
                logger.info("cache: removed %s", entry)
    finally:
        os.close(lock)


def _is_unused(entry: Path, seconds: float) -> bool:
    try:
        used_at = (entry / "manifest.json").stat().st_mtime
    except FileNotFoundError:
        used_at = entry.stat().st_mtime  # its writer was killed
    return time.time() - used_at > seconds


@contextmanager
def _no_readers(entry: Path) -> Iterator[bool]:
    """Yields True if nobody reads the entry. Blocks new readers until the context exits."""
    try:
        # Opened for writing: NFS grants exclusive locks on no other descriptor.
        descriptor = os.open(entry / "tokens.bin", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)
