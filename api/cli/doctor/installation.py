"""Checks of the installation on this host: directories, API keys file, secrets and host name.

- HOME and the temporary directory must be writable and have free space.
- The API keys file must be readable, private and not empty.
- The secrets of the deployment are in secrets/ beside docker-compose.yml.
- Multi-host jobs use the address of the host name as rendezvous, and torch resolves it.
"""

import ipaddress
import os
import socket
import stat
import tempfile
from pathlib import Path

from api.auth import KeysFileError, read_keys
from api.cli.doctor.check import Finding, Host, failed, fine, not_applicable, warning
from api.cli.doctor.docker import COMPOSE_FILE
from api.cli.views.format import size
from worker.jobs.errors import StartRefusedError
from worker.jobs.settings import temporary_directory
from worker.jobs.startup.home_check import (
    check_parts,
    check_path,
    check_temporary_directory,
    home_refused,
    probe_directory,
)
from worker.jobs.storage.paths import Home

LOW_BYTES = 2**30
WISHED_BYTES = 50 * 2**30
"""A checkpoint of flan-t5-xl has 2.85 billion weights and two moments of each, in fp32: 34 GB."""


def check_home(home: Path) -> Finding:
    """Writes and locks a file in HOME, or in its nearest existing parent if HOME is missing."""
    place = home.absolute()
    try:
        check_path(place)
        place = _nearest(place)
        probe_directory(place)
        check_parts(Home(place))
    except StartRefusedError as error:
        return failed(error.found, expected=error.expected, remedy=error.remedy)
    except OSError as error:
        refusal = home_refused(place, error)
        return failed(refusal.found, expected=refusal.expected, remedy=refusal.remedy)
    return _room(home, place)


def check_temporary_files() -> Finding:
    """Checks the directory for temporary files."""
    configured = temporary_directory()
    try:
        check_temporary_directory(configured)
    except StartRefusedError as error:
        return failed(error.found, expected=error.expected, remedy=error.remedy)
    return fine(f"{configured or tempfile.gettempdir()} is writable")


def _room(home: Path, place: Path) -> Finding:
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    created = f"{place}, where {home.name} will be created"
    where = str(place) if place == home.absolute() else created
    found = f"{size(free)} free in {where}; writable, locks work"
    if free >= WISHED_BYTES:
        return fine(found)
    problem = failed if free < LOW_BYTES else warning
    return problem(
        found,
        expected=f"{size(WISHED_BYTES)}: one checkpoint of flan-t5-xl takes 34 GB",
        remedy="set FLANT5_KEEP_CHECKPOINTS_DAYS and FLANT5_KEEP_CACHE_DAYS, or use a larger disk",
    )


def _nearest(path: Path) -> Path:
    """Returns the path or its nearest existing parent. Raises PermissionError."""
    while not path.exists():
        path = path.parent
    return path


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


REDIS_PASSWORD = Path("redis_password")
API_KEYS = Path("api", "keys")
CONTAINER_USER = 10001

_MAKE = "make secrets"


def check_secrets(directory: Path) -> Finding:
    """Checks that the secrets exist and that only the containers and their owner can read them."""
    try:
        if not (directory / COMPOSE_FILE).is_file():
            return not_applicable(f"no {COMPOSE_FILE} in {directory.absolute()}")
        return _looked_at(directory / "secrets")
    except FileNotFoundError as error:
        missing = Path(str(error.filename))
        return failed(f"{missing} is missing", expected="secrets for containers", remedy=_MAKE)
    except PermissionError as error:
        return failed(
            f"{error.filename} is not readable by this user",
            expected="a user who can read it, such as the one who runs docker compose",
            remedy="run `flant5 doctor` as the owner of that file, or with sudo",
        )


def _looked_at(secrets: Path) -> Finding:
    if secrets.stat().st_mode & stat.S_IRWXO:
        return failed(
            f"all users of this machine can access {secrets}",
            expected="a directory that only its owner can access",
            remedy=f"chmod 700 {secrets}",
        )
    files = (secrets / REDIS_PASSWORD, secrets / API_KEYS)
    for file in files:
        if not file.read_text("utf-8", "replace").strip():
            return failed(f"{file} is empty", expected="a secret", remedy=f"rm {file}; {_MAKE}")
        if _is_closed(file):
            return failed(
                f"the user of the containers ({CONTAINER_USER}) can't read {file}",
                expected="a file readable by all, in a directory that is private",
                remedy=f"chmod 644 {file}",
            )
    try:
        known = read_keys(secrets / API_KEYS)
    except KeysFileError as error:
        return failed(str(error), expected="lines of `name:sha256`", remedy="correct that line")
    if not known:
        return failed(
            f"{secrets / API_KEYS} has no keys",
            expected="at least one key; without it, every request is rejected",
            remedy=f"flant5 keys create NAME --file {secrets / API_KEYS}",
        )
    return fine(f"Redis password; API keys of {', '.join(key.name for key in known)}")


def _is_closed(file: Path) -> bool:
    status = file.stat()
    return status.st_uid != CONTAINER_USER and not status.st_mode & stat.S_IROTH


_EXPECTED = "a name that resolves to an address of this host; only multi-host jobs need it"
_REMEDY = (
    "add the name with this host's address to /etc/hosts or DNS; for multi-host jobs, set "
    "FLANT5_NODE_ADDRESS to an address that the other hosts can reach"
)


def check_host_name(name: str, *, node_address: str | None) -> Finding:
    """Resolves the name and tries to bind its addresses."""
    if node_address is not None:
        return fine(f"FLANT5_NODE_ADDRESS is {node_address}")
    try:
        addresses = _addresses(name)
    except OSError as error:
        reason = error.strerror or str(error)
        found = f"the host name {name} does not resolve ({reason})"
        return warning(found, expected=_EXPECTED, remedy=_REMEDY)
    if foreign := [address for address in addresses if not _is_ours(address)]:
        found = f"the host name {name} resolves to {', '.join(foreign)}, not to this host"
        return warning(found, expected=_EXPECTED, remedy=_REMEDY)
    shown = f"{name} resolves to {', '.join(addresses)}"
    if all(ipaddress.ip_address(address).is_loopback for address in addresses):
        return fine(f"{shown} (loopback); multi-host jobs need FLANT5_NODE_ADDRESS")
    return fine(shown)


def _addresses(name: str) -> list[str]:
    """Returns the addresses without zones of link-local addresses. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    return sorted({str(address[4][0]).partition("%")[0] for address in found})


def _is_ours(address: str) -> bool:
    if ipaddress.ip_address(address).is_link_local:
        return True  # can't be bound without its zone
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
