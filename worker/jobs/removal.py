"""Removal of files and directories, and their size."""

import shutil
import stat
from pathlib import Path

_MAX_TRIES = 5


def num_bytes_of(*paths: Path) -> int:
    """Returns the total size of these files and of all files under these directories. A missing
    path has no bytes, and a file with several names counts once."""
    found: dict[tuple[int, int], int] = {}
    for path in paths:
        for each in (path, *path.rglob("*")):
            try:
                status = each.lstat()
            except FileNotFoundError:
                continue  # removed meanwhile
            if not stat.S_ISDIR(status.st_mode):
                found[status.st_dev, status.st_ino] = status.st_size
    return sum(found.values())


def remove(path: Path) -> None:
    """Removes a file, or a directory with its content; returns once all of it is gone.

    Other processes may write into the directory, or remove it as well. Raises OSError.
    """
    for num_left in reversed(range(_MAX_TRIES)):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            if num_left == 0:
                raise
        if not path.exists():
            return
