"""A SOCKS5 proxy without authentication (RFC 1928), for clients that are to pass through one."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Relay(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        _, num_methods = self.rfile.read(2)
        self.rfile.read(num_methods)
        self.wfile.write(b"\x05\x00")
        _, _, _, kind = self.rfile.read(4)
        host = self._host(kind)
        port = int.from_bytes(self.rfile.read(2), "big")
        with socket.create_connection((host, port)) as target:
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            assert isinstance(self.server, _Server)
            self.server.targets.append((host, port))
            back = threading.Thread(target=_copy, args=(target, self.connection))
            back.start()
            _copy(self.connection, target)
            back.join()

    def _host(self, kind: int) -> str:
        if kind == 1:
            return socket.inet_ntop(socket.AF_INET, self.rfile.read(4))
        return self.rfile.read(self.rfile.read(1)[0]).decode()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.targets: list[tuple[str, int]] = []


@contextmanager
def socks_server() -> Iterator[_Server]:
    """Yields a server; `targets` are the hosts and ports that it connected to."""
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
