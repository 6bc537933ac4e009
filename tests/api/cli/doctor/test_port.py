"""The API's port: free, ours, or somebody else's."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from api.cli.doctor.check import State
from api.cli.doctor.redis import check_port
from api.settings import ApiSettings
from tests.ports import free_port


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def test_a_free_port_is_fine() -> None:
    port = free_port()
    finding = check_port("127.0.0.1", port)
    assert (finding.state, finding.found) == (State.OK, f"port {port} of 127.0.0.1 is free")
    assert check_port("0.0.0.0", port).state is State.OK


def test_our_own_api_is_fine_when_it_takes_jobs(
    settings: ApiSettings, server_url: str, serve: Callable[[FastAPI], str]
) -> None:
    finding = check_port("127.0.0.1", port_of(server_url))
    assert (finding.state, "is ready" in finding.found) == (State.OK, True)
    nowhere = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    lame = serve(create_app(settings.model_copy(update={"redis_url": nowhere})))
    finding = check_port("127.0.0.1", port_of(lame))
    assert finding.state is State.FAILED
    assert "is not ready: Redis is not available" in finding.found


def test_another_web_server_has_taken_the_port() -> None:
    class Quiet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            finding = check_port("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()
    assert finding.state is State.FAILED
    assert "used by another program, which returns 404" in finding.found
    assert f"sport = :{server.server_port}" in finding.remedy


def test_a_server_that_speaks_no_http_has_taken_the_port() -> None:
    def greet() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"220 mail ready\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet)
        thread.start()
        finding = check_port("127.0.0.1", listener.getsockname()[1])
        thread.join()
    assert (finding.state, "does not use HTTP" in finding.found) == (State.FAILED, True)


def test_an_address_of_another_machine_can_not_be_listened_on() -> None:
    # TEST-NET-1: documents use it, machines do not.
    finding = check_port("192.0.2.1", free_port())
    assert finding.state is State.FAILED
    assert "FLANT5_HOST" in finding.remedy
