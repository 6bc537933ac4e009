"""The API keys file: readable, private, and with a key in it."""

import os
import stat
from pathlib import Path

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.doctor.surroundings import Host
from api.keys import KeysFileError, read_keys


def check_keys(path: Path | None, *, host: Host) -> Finding:
    """In a container the file comes from outside and nobody else is there: who may read it is
    settled by the directory it lies in out there."""
    if path is None:
        return not_applicable("FLANT5_API_KEYS_FILE is not set: no key is asked for, on loopback")
    create = f"flant5 keys create NAME --file {path}"
    try:
        known = read_keys(path)
        mode = path.stat().st_mode
    except (KeysFileError, OSError) as error:
        return failed(
            str(error),
            expected=f"lines of `name:sha256` that user {os.geteuid()} can read",
            remedy=f"{create}, or mend what it says",
        )
    if not known:
        expected = "one key at least; nobody can call"
        return failed(f"{path} has no keys", expected=expected, remedy=create)
    names = ", ".join(key.name for key in known)
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not host.in_container:
        return failed(
            f"others may write {path}",
            expected="a file that its owner alone can write: a line in it lets somebody in",
            remedy=f"chmod 600 {path}",
        )
    if not host.in_container and is_open_to_all(path):
        return warning(
            f"everybody on this machine can read {path}",
            expected="a private file, although it holds only hashes",
            remedy=f"chmod 600 {path}",
        )
    return fine(f"{path}: {names}")


def is_open_to_all(path: Path) -> bool:
    """Whether any user can read the file: it says so, and so does each directory on the way."""
    path = path.absolute()
    if not path.stat().st_mode & stat.S_IROTH:
        return False
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
