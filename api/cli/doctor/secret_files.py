"""Checks the secrets of the deployment, in secrets/ beside docker-compose.yml."""

import stat
from pathlib import Path

from api.auth import KeysFileError, read_keys
from api.cli.doctor.containers import COMPOSE_FILE
from api.cli.doctor.finding import Finding, failed, fine, not_applicable

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
