"""Encoded conversations, and what was found out about files, that nobody has used for long;
`flant5_train.cache` and `flant5_train.forecast.survey` make them.

What the first promises: the age of `manifest.json` is the time since the last use, an entry is
written under the lock `<entry>.lock`, and whoever reads one has a shared lock on its `tokens.bin`.
"""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.jobs.lock import LockedError, take_lock

logger = logging.getLogger(__name__)


def remove_unused(cache: Path, *, seconds: float) -> Iterator[None]:
    """One entry each time it is asked to go on."""
    for entry in sorted(path for path in cache.glob("*") if path.is_dir()):
        try:
            if _is_unused(entry, seconds):
                _remove(entry, seconds)
        except FileNotFoundError:
            continue  # another keeper was there first
        except OSError:
            logger.exception("%s not removed from the cache", entry)
        yield


def _remove(entry: Path, seconds: float) -> None:
    try:
        lock = take_lock(entry.with_name(f"{entry.name}.lock"), patience_seconds=0)
    except LockedError:
        return  # it is being written
    try:
        with _no_readers(entry) as is_free:
            # Looked at again: it may have been used before the lock was taken.
            if is_free and _is_unused(entry, seconds):
                # First what says that the entry is complete.
                (entry / "manifest.json").unlink(missing_ok=True)
                shutil.rmtree(entry)
                logger.info("%s removed from the cache", entry)
    finally:
        os.close(lock)


def _is_unused(entry: Path, seconds: float) -> bool:
    try:
        used_at = (entry / "manifest.json").stat().st_mtime
    except FileNotFoundError:
        used_at = entry.stat().st_mtime  # left behind by who was killed while writing it
    return time.time() - used_at > seconds


@contextmanager
def _no_readers(entry: Path) -> Iterator[bool]:
    """Whether nobody reads the entry; nobody begins to meanwhile."""
    try:
        # For writing: NFS gives an exclusive lock on no other descriptor.
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
