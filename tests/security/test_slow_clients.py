"""Clients that never finish what they began hold nothing for long, and nobody up."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path

import pytest

from tests.security.corpus.forms import file_form
from tests.security.server import Server, running_server
from tests.stack.service import wait_until

PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("slow")
    limits = {"FLANT5_CLIENT_TIMEOUT_SECONDS": "1", "FLANT5_MAX_FILE_BYTES": str(64 * 2**20)}
    with running_server(directory, **limits) as server:
        yield server


def connected(server: Server) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS))


def dripped(connection: socket.socket, drip: bytes) -> bytes:
    """What the server says until it closes the connection, while it gets `drip` again and again."""
    connection.settimeout(0.05)
    said = b""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if drip:
                connection.sendall(drip)
            received = connection.recv(65_536)
        except TimeoutError:
            continue
        except ConnectionError:
            return said
        if not received:
            return said
        said += received
    raise AssertionError(f"the connection is still open; so far it said {said[:200]!r}")


def head(server: Server, method: str, path: str, *lines: str) -> bytes:
    usual = (f"{method} {path} HTTP/1.1", "Host: a", f"Authorization: {server.authorization}")
    return "\r\n".join([*usual, *lines, "", ""]).encode()


def is_error(said: bytes, status: int) -> bool:
    return said.startswith(f"HTTP/1.1 {status} ".encode()) and b'{"error":{"message":' in said


def test_headers_that_never_end_are_cut_off(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /v1/files HTTP/1.1\r\nHost: a\r\n")
        assert is_error(dripped(connection, b"X: y\r\n"), 408)


def test_a_connection_that_says_nothing_is_closed(server: Server) -> None:
    with connected(server) as connection:
        assert dripped(connection, b"") == b""


def test_empty_lines_after_an_answer_keep_no_connection_open(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head(server, "GET", "/healthz"))
        said = dripped(connection, b"\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "heading",
    [
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 30_000,
    ],
)
def test_headers_without_end_are_refused_as_too_large(server: Server, heading: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(heading)
        assert is_error(dripped(connection, b""), 431)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/fine_tuning/jobs"])
def test_a_body_that_drips_is_refused_and_nothing_is_left_of_it(server: Server, path: str) -> None:
    before = server.state()
    headers, form = file_form(b"a.jsonl", b"x" * 2000)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    with connected(server) as connection:
        connection.sendall(head(server, "POST", path, *lines, f"Content-Length: {len(form) + 999}"))
        connection.sendall(form[:500])
        said = dripped(connection, b"y")
    assert is_error(said, 408)
    assert b"the body arrived too slowly" in said
    assert server.state() == before


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/files/x", "/healthz"])
def test_a_body_that_nobody_reads_holds_no_connection(server: Server, path: str) -> None:
    with connected(server) as connection:
        connection.sendall(head(server, "GET", path, "Content-Length: 999999"))
        said = dripped(connection, b"y")
    assert said.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 200 "))


def test_a_client_that_does_not_take_its_answer_is_cut_off(server: Server) -> None:
    content = b"x" * (32 * 2**20)
    with server.client() as client:
        file = client.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": ("big", content)}
        ).json()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(head(server, "GET", f"/v1/files/{file['id']}/content"))
        response = HTTPResponse(connection)
        response.begin()
        # The file is open from the first byte of it on.
        assert response.read(1) == b"x"
        wait_until(lambda: not is_open(server, f"{file['id']}/content"), seconds=60)
        with pytest.raises((ConnectionError, IncompleteRead)):
            response.read()


def is_open(server: Server, path: str) -> bool:
    """Whether the server has that file open."""
    found = Path(f"/proc/{server.process.pid}/fd")
    for descriptor in found.iterdir():
        # Another one may be closed meanwhile.
        with suppress(FileNotFoundError):
            if str(descriptor.readlink()).endswith(path):
                return True
    return False


def test_a_slow_body_that_keeps_coming_is_taken(server: Server) -> None:
    """Three times as long as patience alone would last."""
    content = b"x" * 40_000
    headers, form = file_form(b"a.jsonl", content)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    with connected(server) as connection:
        length = f"Content-Length: {len(form)}"
        connection.sendall(head(server, "POST", "/v1/files", *lines, length, "Connection: close"))
        connection.settimeout(0.3)
        for start in range(0, len(form), 4000):
            connection.sendall(form[start : start + 4000])
            if start + 4000 < len(form):
                with pytest.raises(TimeoutError):
                    connection.recv(1)
        said = dripped(connection, b"")
    assert said.startswith(b"HTTP/1.1 200 "), said


def test_others_are_served_while_a_hundred_hang(server: Server) -> None:
    hanging = [
        socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) for _ in range(100)
    ]
    try:
        for number, connection in enumerate(hanging):
            heading = head(server, "POST", "/v1/files", "Content-Length: 1000")
            connection.sendall(heading[: len(heading) - number % 40])
        with server.client() as client:
            for _ in range(20):
                assert client.get("/files", params={"limit": 1}).status_code == 200
    finally:
        for connection in hanging:
            connection.close()
