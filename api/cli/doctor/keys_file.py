"""Checks that the API keys file is readable, private and not empty."""

import os
import stat
from pathlib import Path

from api.auth import KeysFileError, read_keys
from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.doctor.surroundings import Host


def check_keys(path: Path | None, *, host: Host) -> Finding:
    """Checks the keys file. In a container, its mode is not checked.

    There, the directory on the host determines who can read the file.
    """
    if path is None:
        return not_applicable("FLANT5_API_KEYS_FILE is not set: no keys required, on loopback only")
    create = f"flant5 keys create NAME --file {path}"
    try:
        known = read_keys(path)
        mode = path.stat().st_mode
    except (KeysFileError, OSError) as error:
        return failed(
            str(error),
            expected=f"lines of `name:sha256`, readable by user {os.geteuid()}",
            remedy=f"{create}, or correct the file",
        )
    if not known:
        expected = "at least one key; without it, every request is rejected"
        return failed(f"{path} has no keys", expected=expected, remedy=create)
    names = ", ".join(key.name for key in known)
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not host.in_container:
        return failed(
            f"{path} is writable by others",
            expected="a file that only its owner can write: each line grants access",
            remedy=f"chmod 600 {path}",
        )
    if not host.in_container and is_open_to_all(path):
        return warning(
            f"all users of this machine can read {path}",
            expected="a private file, although it holds only hashes",
            remedy=f"chmod 600 {path}",
        )
    return fine(f"{path}: {names}")


def is_open_to_all(path: Path) -> bool:
    """Returns True if the modes of the file and of all its parents let any user read it."""
    path = path.absolute()
    if not path.stat().st_mode & stat.S_IROTH:
        return False
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
