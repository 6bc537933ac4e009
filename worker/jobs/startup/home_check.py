"""Startup checks of HOME and of the directory for temporary files.

A directory that can't work is refused in one line, the same in every process and in `flant5
doctor`. A full disk is refused only where nothing could free it.
"""

import fcntl
import logging
import os
import tempfile
from itertools import chain
from pathlib import Path
from typing import Literal

from worker.jobs.errors import StartRefusedError
from worker.jobs.storage.filesystem import is_full
from worker.jobs.storage.paths import Home

MAX_HOME_BYTES = 3500
"""Linux accepts paths of 4,095 bytes; the rest is left for the files below HOME."""

_EXPECTED = "a directory in which the service may write and lock files"

logger = logging.getLogger(__name__)


class HomeFullError(StartRefusedError):
    """The disk is full, or a quota is used up."""

    def __init__(self, directory: Path, error: OSError) -> None:
        super().__init__(
            f"HOME {shown(directory)} has no free space: {error.strerror}",
            expected="free space for the files of jobs",
            remedy="free some, or set FLANT5_HOME to a larger disk",
        )


HomeWriter = Literal["api", "worker", "controller", "writes"]
"""The process that writes to HOME; `writes` means all of them, as in `flant5 up`."""


def prepare_home(home: Home, *, writer: HomeWriter = "writes", may_be_full: bool = False) -> None:
    """Creates HOME and checks the directories that this process writes to.

    With `may_be_full` a full disk is only logged, for a process that can free it.
    Raises StartRefusedError, and HomeFullError for a full disk.
    """
    check_path(home.root)
    try:
        home.root.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise _refused(home.root, "Not a directory") from error
    except OSError as error:
        raise home_refused(home.root, error) from error
    try:
        check_home(home, writer=writer)
    except HomeFullError as error:
        if not may_be_full:
            raise
        logger.error("home: %s", error)


def check_home(home: Home, *, writer: HomeWriter = "writes") -> None:
    """Writes, locks and removes a file in HOME. Raises as `prepare_home` does, also for a missing
    HOME."""
    try:
        probe_directory(home.root)
    except OSError as error:
        raise home_refused(home.root, error) from error
    check_parts(home, writer=writer)


def check_parts(home: Home, *, writer: HomeWriter = "writes") -> None:
    """Raises StartRefusedError for a directory in HOME that `writer` needs and this user can't
    write, because a process of another user created it. HOME/models may be read-only: only the
    trainer writes there, when it builds the demo model.
    """
    parts = {
        "api": (home.files, home.uploads, home.incoming, home.jobs, home.deleted, home.audit),
        "worker": (home.files, home.jobs, home.cache, home.workers, home.slots),
        "controller": (home.files, home.uploads, home.jobs, home.deleted, home.workers),
    }
    every = chain.from_iterable(parts.values())
    for directory in parts.get(writer, dict.fromkeys(every)):
        _check_part(directory)


def check_readable_home(home: Home) -> None:
    """Checks HOME for a process that only reads it; it may be missing. Raises StartRefusedError."""
    check_path(home.root)
    try:
        with os.scandir(home.root):
            return
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartRefusedError(
            f"HOME {shown(home.root)} can't be read: {error.strerror} (this is user "
            f"{os.geteuid()})",
            expected="a directory that the service may read",
            remedy="change its owner to this user, or set FLANT5_HOME",
        ) from error


def check_path(path: Path) -> None:
    """Raises StartRefusedError for a path that is too long or not UTF-8."""
    name = os.fsencode(path)
    try:
        name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StartRefusedError(
            f"HOME {shown(path)} is not UTF-8",
            expected="a path in UTF-8: records that hold it are JSON",
            remedy="set FLANT5_HOME to another directory",
        ) from error
    if len(name) > MAX_HOME_BYTES:
        raise StartRefusedError(
            f"the path of HOME has {len(name)} bytes",
            expected=f"at most {MAX_HOME_BYTES}: the files of a job lie below it",
            remedy="set FLANT5_HOME to a shorter path",
        )


def probe_directory(directory: Path) -> None:
    """Writes and locks a file in the directory. The file has no name if the file system supports
    that, so a killed process leaves nothing behind.

    Raises OSError, and StartRefusedError for a directory without locks.
    """
    with tempfile.TemporaryFile(prefix=".probe-", dir=directory, buffering=0) as probe:
        probe.write(b"flant5")
        _try_lock(directory, probe.fileno())


def home_refused(directory: Path, error: OSError) -> StartRefusedError:
    """Returns the error for HOME, or for a directory in it, that can't be written."""
    if is_full(error):
        return HomeFullError(directory, error)
    return _refused(directory, error.strerror)


def check_temporary_directory(configured: str | None) -> None:
    """Checks TMPDIR, or the system's directory if it is unset. A full one is only logged: it
    empties by itself, or no process of ours can empty it.

    Raises StartRefusedError. Without this check Python silently uses another directory.
    """
    directory = Path(configured or tempfile.gettempprefix())
    try:
        directory = Path(configured) if configured else Path(tempfile.gettempdir())
        with tempfile.TemporaryFile(dir=directory, buffering=0) as probe:
            probe.write(b"flant5")
    except OSError as error:
        name = f"TMPDIR {shown(directory)}" if configured else "the directory for temporary files"
        found = f"{name} can't be written: {error.strerror or error}"
        if is_full(error):
            logger.error("temporary files: %s", found)
            return
        raise StartRefusedError(
            f"{found} (this is user {os.geteuid()})",
            expected="a directory for temporary files",
            remedy="create it, or set TMPDIR to another one",
        ) from error


def shown(path: Path) -> str:
    """Returns the path in a form that fits into one line."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _try_lock(directory: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartRefusedError(
            f"files in {shown(directory)} can't be locked: {error.strerror}",
            expected="flock: without it two jobs could share a GPU",
            remedy="mount NFS with vers=4.1 or newer, and never with nolock or local_lock",
        ) from error


def _check_part(directory: Path) -> None:
    if directory.is_symlink() and not directory.exists():
        reason = "it is a broken link"
    elif not directory.exists() or (
        directory.is_dir() and os.access(directory, os.W_OK | os.X_OK, effective_ids=True)
    ):
        return
    else:
        reason = "Permission denied" if directory.is_dir() else "Not a directory"
    raise _refused(directory, reason)


def _refused(directory: Path, reason: str | None) -> StartRefusedError:
    remedy = f"sudo chown -R {os.geteuid()}:{os.getegid()} {shown(directory)}"
    if not os.path.exists(directory):  # Path.exists raises for a name that is too long
        remedy = "create it, or mount its file system"
    return StartRefusedError(
        f"HOME: {shown(directory)} can't be written: {reason} (this is user {os.geteuid()})",
        expected=_EXPECTED,
        remedy=f"{remedy}, or set FLANT5_HOME",
    )
