"""The directory with everything that must last: it can be written, locked, and has room."""

import fcntl
import os
import tempfile
from pathlib import Path

from api.cli.doctor.finding import Finding, failed, fine, warning
from api.cli.printing import size

LOW_BYTES = 2**30
WISHED_BYTES = 50 * 2**30
"""A checkpoint of flan-t5-xl holds 2.85 billion weights and two moments of each, in fp32: 34 GB."""

_WRITABLE = "a directory in which the service may write and lock files"


def check_home(home: Path) -> Finding:
    """Really writes and locks a file; in the nearest directory above while there is no HOME yet."""
    place = home.absolute()
    try:
        place = _nearest(place)
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as directory:
            probe = Path(directory, "probe")
            probe.write_bytes(b"flant5")
            _lock(probe)
    except _NoLocksError as error:
        return failed(
            f"files in {place} can't be locked: {error}",
            expected="flock: without it two jobs could share a GPU",
            remedy="mount NFS with vers=4.1 or newer, and never with nolock or local_lock",
        )
    except OSError as error:
        return failed(
            f"{place} can't be written: {error.strerror} (this is user {os.geteuid()})",
            expected=_WRITABLE,
            remedy=f"sudo chown {os.geteuid()}:{os.getegid()} {place}, or set FLANT5_HOME",
        )
    return _room(home, place)


class _NoLocksError(Exception):
    """The file system has none."""


def _lock(path: Path) -> None:
    with path.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _NoLocksError(str(error.strerror)) from error


def _room(home: Path, place: Path) -> Finding:
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    where = str(place) if place == home.absolute() else f"{place}, where {home.name} will be made"
    found = f"{size(free)} free in {where}; it can be written and locked"
    if free >= WISHED_BYTES:
        return fine(found)
    problem = failed if free < LOW_BYTES else warning
    return problem(
        found,
        expected=f"{size(WISHED_BYTES)}: one checkpoint of flan-t5-xl takes 34 GB",
        remedy="set FLANT5_KEEP_CHECKPOINTS_DAYS and FLANT5_KEEP_CACHE_DAYS, or a larger disk",
    )


def _nearest(path: Path) -> Path:
    """The path itself, or the directory above that is there. Raises PermissionError on the way."""
    while not path.exists():
        path = path.parent
    return path
